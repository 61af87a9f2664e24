"""Building the distributions of this checkout, for the tests of a release."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "CITATION.cff", "SECURITY.md", "CHANGELOG.md")
FOLDERS = ("core", "plugins", "configs", "benchmarks/suites")
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


def copy_of_the_sources(folder):
    """Copy what a release is built of, so that building leaves no trace in the checkout."""
    for name in FILES + (("MANIFEST.in",) if (ROOT / "MANIFEST.in").is_file() else ()):
        shutil.copy(ROOT / name, folder / name)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def build(kind, sources, out):
    """Build ``wheel`` or ``sdist`` of a folder and return the file."""
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(out) / done.stdout.split()[-1]
