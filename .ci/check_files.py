#!/usr/bin/env python3
"""What no linter sees: large files, long modules, paths of one machine. Checks the files named, or all that git has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MAX_BYTES = 10 << 20
MAX_LINES = 400
# A path below a home or a mount of one machine; spelled so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt|scratch)/[\w.-]+/")
TEXT = {".py", ".md", ".cfg", ".toml", ".yaml", ".yml", ".json", ".txt", ".sh", ".html", ".css", ".js", ".rst"}


def problems(path: Path) -> list[str]:
    """Return what is wrong with one file, a sentence each."""
    found = []
    if (size := path.stat().st_size) > MAX_BYTES:
        found.append(f"{path}: {size >> 20} MiB; large files do not belong into the repository")
    if path.suffix not in TEXT:
        return found
    lines = path.read_text(errors="replace").splitlines()
    if path.suffix == ".py" and len(lines) > MAX_LINES and "tests" not in path.parts:
        found.append(f"{path}: {len(lines)} lines; part it by ideas")
    found += [
        f"{path}:{number}: names a path of one machine"
        for number, line in enumerate(lines, 1)
        if MACHINE_PATH.search(line) and "usr/bin/env" not in line
    ]
    return found


def main() -> int:
    """Print every problem; return 1 where there is one."""
    named = sys.argv[1:] or subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout.rstrip("\0").split("\0")
    found = [text for name in named if Path(name).is_file() for text in problems(Path(name))]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
