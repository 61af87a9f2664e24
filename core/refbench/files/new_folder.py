"""A folder that appears whole or not at all: written beside its place, renamed at the end, removed where that fails."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.files.out_guard import is_there, locked
from refbench.files.regular import remove
from refbench.files.terminable import terminable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def check_new(out: Path) -> None:
    """Refuse what is neither a new nor an empty folder.

    Raises
    ------
    InputError
        ``out`` is a file or a link that leads nowhere, or holds something.
    """
    if is_there(out) and not out.is_dir():
        raise InputError(f"{out} is no folder; give a new one.")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is there and not empty; give a new folder.")


@contextlib.contextmanager
def new_folder(out: Path, check: Callable[[], None] | None = None) -> Iterator[Path]:
    """Give a folder beside ``out`` to write to; it takes the place of ``out`` where the block ends without an error.

    ``check`` raises where ``out`` may not be replaced; by default it must be new or empty. It is asked before and
    after the block.

    Raises
    ------
    InputError
        ``out`` may not be replaced, another process writes there, or the folder above cannot be written to.
    """
    asked = check or (lambda: check_new(out))
    asked()
    with terminable(), locked(out):
        partial = partial_folder(out)
        try:
            yield partial
            put_in_place(partial, out, asked)
        finally:
            remove(partial)


@contextlib.contextmanager
def folder_in_place(out: Path) -> Iterator[None]:
    """Make the new folder ``out`` itself, for writers whose files name it; it is removed where the block fails.

    Raises
    ------
    InputError
        It is neither new nor empty, another process writes there, or it cannot be made.
    """
    check_new(out)
    with terminable(), locked(out):
        try:
            out.mkdir(exist_ok=out.is_dir())  # ours from here on: nobody else can make it meanwhile
        except OSError as error:
            raise InputError(f"The output folder {out} cannot be made: {error.strerror}.") from error
        try:
            yield
        except BaseException:
            remove(out)
            raise


def partial_folder(out: Path) -> Path:
    """Make a new folder beside ``out``; its name was never used, also not by a process of the same number.

    Raises
    ------
    InputError
        The folder above cannot be written to.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{out.name}.partial-{os.getpid()}-", dir=out.parent))
    except OSError as error:
        raise InputError(f"The output folder {out} cannot be made: {error.strerror}.") from error
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)  # mkdtemp makes private ones
    return folder


def put_in_place(partial: Path, out: Path, check: Callable[[], None]) -> None:
    """Rename a finished folder; what was at ``out`` goes only where ``check`` does not raise.

    Raises
    ------
    InputError
        Something else has appeared there meanwhile; what was written lies in the folder that the message names.
    """
    try:
        check()
    except InputError as error:
        number = next(n for n in range(2, 1 << 30) if not os.path.lexists(out.with_name(f"{out.name}-{n}")))
        rescued = out.with_name(f"{out.name}-{number}")
        partial.rename(rescued)
        raise InputError(f"{error} It appeared during the run; the result lies in {rescued}.") from error
    old = out.with_name(f"{out.name}.old-{os.getpid()}")
    remove(old)
    if out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    remove(old)
