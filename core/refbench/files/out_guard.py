"""The one guard of ``--out``: what may be replaced, and that one run at a time writes there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.files.posix import try_lock
from refbench.files.regular import read_regular, remove

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RESULT_FILE = "result.json"
RESULT_LIMIT = 64 << 20
CONTENTS_FILE = ".contents"
"""In a folder that refbench made: the paths of the files that it put there, one a line."""
_USUAL = (RESULT_FILE, CONTENTS_FILE, "log.txt", "report.html", "request.json", "key.json", "official")
_LATER = ("report.html", "key.json")
"""What ``report`` and sweeps put there afterwards."""
_LEFT = re.compile(r"\.(partial|old)-\d+(?:-\w+)*(?:\.(?:partial|old)-\d+(?:-\w+)*)*")


def check_out(out: Path, overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse an output folder that holds something, unless it is a result, nothing else, and may be overwritten.

    Raises
    ------
    InputError
        ``out`` is no folder, holds foreign files or an input, or holds a result and ``overwrite`` is False.
    """
    if not is_there(out):
        return
    if not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder.")
    if not (out / RESULT_FILE).exists():
        if any(out.iterdir()):
            raise InputError(f"--out {out} holds other files; give an empty or a new folder.")
        return
    if not overwrite:
        raise InputError(f"--out {out} already holds a result; give another folder or --overwrite.")
    if (held := next((path for path in map(Path, inputs) if _inside(path, out)), None)) is not None:
        raise InputError(f"--out {out} holds the input {held}, which --overwrite would delete; give another folder.")
    if foreign := foreign_names(out):
        raise InputError(
            f"--out {out} holds files that are not of its result, such as {foreign[0]}, which --overwrite would "
            "delete; move them or give another folder."
        )


def is_there(out: Path) -> bool:
    """Return whether something is at a path, if only a link that leads nowhere.

    Raises
    ------
    InputError
        No file can have such a name.
    """
    if "\0" in str(out):
        raise InputError(f"--out {str(out)!r} holds a NUL character; give another name.")
    return os.path.lexists(out)


def foreign_names(folder: Path) -> list[str]:
    """Return the files in a folder that refbench did not put there, as paths relative to it.

    A folder without a list of contents (of an older refbench) may hold a result's outputs and the usual files.
    """
    try:
        listed = read_regular(folder / CONTENTS_FILE, RESULT_LIMIT).decode().splitlines()
        known = {CONTENTS_FILE, *_LATER, *listed}
    except (InputError, UnicodeDecodeError):
        known = {*_USUAL, *_outputs(folder)}
    # A folder that is known itself is known with all that is in it: so older lists said it.
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    parents = ((path, {path.as_posix(), *(above.as_posix() for above in path.parents)}) for path in found)
    return sorted(path.as_posix() for path, names in parents if not names & known)


def write_contents(folder: Path) -> None:
    """Write down which files are in a folder now."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    (folder / CONTENTS_FILE).write_text("".join(f"{name}\n" for name in files))


def check_out_file(out: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse to write a file over what is no regular file, an input, or an output that a result beside it lists.

    Raises
    ------
    InputError
        Nothing is written then.
    """
    if not is_there(out):
        return
    if not stat.S_ISREG(out.lstat().st_mode):
        raise InputError(f"--out {out} is no regular file and stays as it is; give the name of a file.")
    if any(path.exists() and out.samefile(path) for path in map(Path, inputs)):
        raise InputError(f"--out {out} is an input; give another name.")
    if out.name in {RESULT_FILE, *_outputs(out.parent)}:
        raise InputError(f"--out {out} belongs to a result; give another name.")


def _outputs(folder: Path) -> set[str]:
    """Return the files that the result in a folder lists; empty where there is none or it cannot be read."""
    try:
        outputs = json.loads(read_regular(folder / RESULT_FILE, RESULT_LIMIT))["outputs"]
        return {str(name) for name in outputs.values()}
    except (InputError, ValueError, AttributeError, TypeError, KeyError):
        return set()


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep others from writing to ``out`` meanwhile; what a run that died left beside it is swept.

    Raises
    ------
    InputError
        Another run writes there, or the folder above cannot be written to.
    """
    lock = out.with_name(f".{out.name}.lock")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(lock)
    except OSError as error:
        raise InputError(f"The output folder {out} cannot be made: {error.strerror}.") from error
    if handle is None:
        raise InputError(f"Another run of refbench writes to {out}; wait for it or give another --out.")
    try:
        sweep(out)
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who waits for it finds that it is another file now
        os.close(handle)


def _lock(path: Path) -> int | None:
    """Return the descriptor of a lock file that this process holds; None where another one does."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        if not try_lock(handle):
            os.close(handle)
            return None
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == os.fstat(handle).st_ino:  # noqa: PTH116  # beside fstat
                return handle
        os.close(handle)


def sweep(out: Path) -> None:
    """Remove what a killed run left beside ``out``, which is locked; an older result that it had moved comes back."""
    for path in sorted(out.parent.glob(f"{_glob_safe(out.name)}.*")):
        found = _LEFT.fullmatch(path.name.removeprefix(out.name))
        if found is None:
            continue
        if found[1] == "old" and not os.path.lexists(out) and (path / RESULT_FILE).is_file():
            path.rename(out)
        else:
            remove(path)


def _glob_safe(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _inside(path: Path, folder: Path) -> bool:
    return path.exists() and path.resolve().is_relative_to(folder.resolve())
