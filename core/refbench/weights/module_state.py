"""Tensors of a network that was pickled whole, without its classes and without running anything of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import WeightsError
from refbench.weights.checkpoint import kind_of, read_module
from refbench.weights.stubs import ModuleStub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

MAX_DEPTH = 64
MAX_MODULES = 100_000
"""More nesting or more modules than any network has: the file looks maliciously nested."""


def read_module_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a PyTorch file that holds one, or holds a whole pickled module; tensors on the CPU.

    Names are those of ``Module.state_dict``. Buffers that a module does not count to its state cannot be told apart
    and are returned, too.
    Tensors keep their shape and float or int type.

    Raises
    ------
    MissingFileError
        There is no such file.
    WeightsError
        The file wants to run code, is damaged, or holds neither a state dict nor a module with tensors.
    MissingExtraError
        torch is not installed.
    """
    content = read_module(path)
    import torch

    if isinstance(content, dict):
        found = {str(name): value for name, value in content.items()}
    elif isinstance(content, ModuleStub):
        found = dict(_Harvest(path).walk(content, "", 0))
    else:
        raise WeightsError(f"{path} holds a {kind_of(content)}, neither a state dict nor a network.")
    if not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise WeightsError(f"{path} holds neither the tensors of a state dict nor those of a network.")
    return found


class _Harvest:
    """Walks through stubs of modules in the order of ``state_dict``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0

    def walk(self, module: ModuleStub, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        """Yield name and tensor of a module and all those in it."""
        self._seen += 1
        if depth > MAX_DEPTH or self._seen > MAX_MODULES:
            raise WeightsError(f"{self._path} nests more modules than a network does; it was not read.")
        tables: dict[str, dict[str, Any]] = getattr(module, "tables", {})
        for table in ("_parameters", "_buffers"):
            for name, value in tables.get(table, {}).items():
                if value is not None:
                    yield f"{prefix}{name}", value
        for name, child in tables.get("_modules", {}).items():
            if isinstance(child, ModuleStub):
                yield from self.walk(child, f"{prefix}{name}.", depth + 1)
