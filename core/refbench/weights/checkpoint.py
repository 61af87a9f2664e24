"""Reading pickled checkpoints of foreign systems: a file's bytes can be anything, and nothing that they name is run.

Neither Python's unpickler nor ``torch.load`` takes part. An interpreter of our own builds plain Python values, arrays
of plain numbers and dense tensors, and puts an inert ``Stub`` in the place of every other object. A file that asks
for a function to be called, or for anything of Python's standard library that can do more than hold data, is refused.
Memory is bounded by the size of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import MissingExtraError, MissingFileError, WeightsError
from refbench.weights.pickle_limits import Budget, Unreadable, check_nesting, shown
from refbench.weights.pickle_machine import Machine
from refbench.weights.pickle_opcodes import run
from refbench.weights.pickle_values import PickleValues
from refbench.weights.stubs import MODULE_TABLES, ModuleStub, Stub, tables_of
from refbench.weights.torch_archive import TAR_MARK, TAR_MARK_AT, ZIP_START, read_archive, read_stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["MODULE_TABLES", "ModuleStub", "Stub", "read_checkpoint", "read_module", "read_pickle"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a PyTorch checkpoint (zip or older) or a plain pickle holds; tensors on the CPU.

    Objects that are neither data nor tensors are ``Stub`` in the result.

    Raises
    ------
    MissingFileError
        There is no such file.
    WeightsError
        The file wants to run code (the message names what it asked for), is damaged, or holds no mapping.
    MissingExtraError
        torch is not installed.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no checkpoint {path}.")
    content = _read_torch(path, Stub)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {kind_of(content)}, not a dictionary of weights.")
    return content


def read_module(path: Path) -> Any:  # noqa: ANN401  # whatever was pickled
    """Return what a PyTorch file holds, of any type; every object in it that is no data is a ``ModuleStub``.

    Raises as ``read_checkpoint`` does, but for what is no mapping.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no checkpoint {path}.")
    return _read_torch(path, ModuleStub)


def read_pickle(path: Path) -> dict[str, Any]:
    """Return what a plain pickle of a dictionary holds (numbers, text, arrays), without needing torch.

    Raises
    ------
    MissingFileError
        There is no such file.
    WeightsError
        The file wants to run code (the message names what it asked for), is damaged, or holds no mapping.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")

    def read(file: BinaryIO, size: int) -> Any:  # noqa: ANN401  # whatever was pickled
        budget = Budget(size)
        return run(Machine(file, size, PickleValues(budget), budget))

    content = _checked(path, "no pickle", read)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {kind_of(content)}, not a dictionary.")
    return content


def kind_of(value: object) -> str:
    """Return the name of a value's type, for a stub that of the object for which it stands."""
    return shown(value.name) if isinstance(value, Stub) else type(value).__name__


def _read_torch(path: Path, stub: type[Stub]) -> Any:  # noqa: ANN401  # whatever was pickled
    torch = _torch()

    def read(file: BinaryIO, size: int) -> Any:  # noqa: ANN401  # whatever was pickled
        start = file.read(TAR_MARK_AT + len(TAR_MARK))
        file.seek(0)
        if start.startswith(ZIP_START):
            return read_archive(torch, file, size, stub)
        if start[TAR_MARK_AT:] == TAR_MARK:
            raise Unreadable("is a tar archive, as PyTorch wrote before 2017; load and save it with a newer version")
        return read_stream(torch, file, size, stub)

    return _checked(path, "neither a PyTorch checkpoint nor a pickle", read)


def _checked(path: Path, otherwise: str, read: Callable[[BinaryIO, int], Any]) -> Any:  # noqa: ANN401
    """Return what ``read(file, size)`` makes of a file, where it can be walked through."""
    try:
        with path.open("rb") as file:
            value = read(file, path.stat().st_size)
        check_nesting(value, tables_of)
    except Unreadable as error:
        raise WeightsError(f"{path} {error}.") from error
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(f"{path} is {otherwise}: {shown(str(error).rstrip('.'))}.") from error
    return value


def _torch() -> Any:  # noqa: ANN401  # a module
    try:
        import torch
    except ImportError as error:
        message = "Reading a PyTorch checkpoint needs the package torch; install it with: pip install torch"
        raise MissingExtraError(message) from error
    return torch
