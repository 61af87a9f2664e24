"""Reading and removing in folders that somebody else may have spoilt: no link is followed, no pipe awaited."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises
    ------
    InputError
        It is something else (a folder, a link, a pipe, a device), is not there, or is larger.
    """
    try:
        # Opening a pipe to read would wait for a writer; a link could lead anywhere.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"Cannot read {path}: it is no regular file.")
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError(f"Cannot read {path}: it has more than {limit} bytes.")
    return content


def is_plain(path: Path, *, folder: bool = False) -> bool:
    """Return whether a path is a regular file (or a folder, where asked for), links not followed."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or (folder and stat.S_ISDIR(mode))


def remove(path: Path) -> None:
    """Remove whatever is there, as far as that is possible; links are not followed."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def keep_plain(folder: Path) -> list[str]:
    """Remove everything below ``folder`` that is neither a regular file nor a folder; return the names."""
    gone = []
    for root, folders, files in os.walk(folder):  # links to folders are among ``folders`` and not walked into
        for name in (*folders, *files):
            path = folder.__class__(root) / name
            if not is_plain(path, folder=True):
                gone.append(path.relative_to(folder).as_posix())
                remove(path)
    return gone
