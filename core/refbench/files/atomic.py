"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Give a binary file beside ``path`` that takes its place where the block ends without an error.

    Raises
    ------
    InputError
        The folder is missing, the disk is full, or a folder, device or pipe is there; what was at ``path`` before is
        untouched.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced by a file
        raise InputError(f"Cannot write {path}: it is no regular file.")
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}; what was there is untouched.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
