"""Reading pickled checkpoints of foreign systems without running anything that they name.

PyTorch's own safe mode is tried first. What it refuses (older files hold optimiser and scheduler objects) is read by
an unpickler that builds tensors and containers and puts an inert ``Stub`` in the place of every other object. A file
that asks for a function to be called, or for anything of Python's standard library that can do more than hold data,
is refused.
"""

from __future__ import annotations

import collections
import importlib
import pickle
import sys
import types
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import MissingExtraError, MissingFileError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Types that cannot be altered by a pickle (all are implemented in C).
_DATA_TYPES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    **{
        ("builtins", kind.__name__): kind
        for kind in (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, range, set, str, tuple)
    },
    # What protocols before 3 call them.
    ("builtins", "long"): int,
    ("builtins", "unicode"): str,
    ("builtins", "xrange"): range,
}
_BUILDERS = {
    "numpy": ("ndarray", "dtype"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "torch": ("Size", "device"),
    "torch._utils": ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"),
}
"""Module -> what there makes arrays and tensors of data."""
_OBJECT_BUILDERS = (
    ("builtins", "getattr"),
    *(("copyreg", n) for n in ("_reconstructor", "__newobj__", "__newobj_ex__")),
)
"""How bound methods and plain objects are pickled: harmless between stubs, refused on anything else."""
_RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_HOLDS_DATA = {"argparse", "collections", "datetime", "enum", "pathlib", "types"}
"""Modules of the standard library whose classes only hold data: stubbed; everything else there is refused."""


class Stub:
    """Stands for an object that was not rebuilt. It takes what an unpickler does to an object, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> Stub:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        del args, kwargs

    def __setstate__(self, state: object) -> None:
        """Drop the state."""

    def __setitem__(self, key: object, value: object) -> None:
        """Drop the item."""

    def __call__(self, *args: object, **kwargs: object) -> Stub:
        """Do nothing."""
        return self

    def append(self, value: object) -> None:
        """Drop the value."""

    extend = append


class _Buildable(type):
    """Classes that an unpickler may make objects of; a call of one that may be a function is refused."""

    refusal: WeightsError | None = None

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever the class makes
        if cls.refusal is not None:
            raise cls.refusal
        return super().__call__(*args, **kwargs)


class ModuleStub(Stub, metaclass=_Buildable):
    """Stands for an object that may be a network's module: it keeps the module's own three tables and nothing else."""

    def __setstate__(self, state: object) -> None:
        """Keep parameters, buffers and modules where they are tables."""
        held = state if isinstance(state, dict) else {}
        self.tables = {name: held[name] for name in MODULE_TABLES if isinstance(held.get(name), dict)}


MODULE_TABLES = ("_parameters", "_buffers", "_modules")


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
    content = _read(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a dictionary of weights.")
    return content


def read_module(path: Path) -> Any:  # noqa: ANN401  # whatever was pickled
    """Return what a PyTorch file holds, of any type; every object in it that is no data is a ``ModuleStub``.

    Raises as ``read_checkpoint`` does, but for what is no mapping.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no checkpoint {path}.")
    return _read(path, ModuleStub)


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
    try:
        content = _read_plain(path)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"{path} is no pickle: {error}.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a dictionary.")
    return content


def _read(path: Path, stub: type[Stub] = Stub) -> Any:  # noqa: ANN401  # whatever was pickled
    torch = _torch()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise WeightsError(f"{path} is a TorchScript program, not a checkpoint; save its state_dict instead.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it doubts protocols that it then reads or refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # refused, or no file of torch: the restricted unpickler finds out which
        pass
    readers: list[Callable[[], Any]] = [
        lambda: torch.load(path, map_location="cpu", weights_only=False, pickle_module=_pickle_module(path, stub)),
        lambda: _read_plain(path, stub),
    ]
    reason: Exception | None = None
    for reader in readers:
        try:
            return reader()
        except WeightsError:
            raise
        except Exception as error:  # a damaged pickle can raise anything
            reason = reason or error
    raise WeightsError(f"{path} is neither a PyTorch checkpoint nor a pickle: {reason}.") from reason


def _read_plain(path: Path, stub: type[Stub] = Stub) -> Any:  # noqa: ANN401  # whatever was pickled
    with path.open("rb") as file:
        return _unpickler(path, stub)(file).load()


def _torch() -> Any:  # noqa: ANN401  # a module
    try:
        import torch
    except ImportError as error:
        message = "Reading a PyTorch checkpoint needs the package torch; install it with: pip install torch"
        raise MissingExtraError(message) from error
    return torch


def _pickle_module(path: Path, stub: type[Stub]) -> types.ModuleType:
    """Return what ``torch.load`` takes for the module ``pickle``."""
    module = types.ModuleType("restricted_pickle")
    unpickler = _unpickler(path, stub)
    module.Unpickler = unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **options: unpickler(file, **options).load()  # type: ignore[attr-defined]
    return module


def _unpickler(path: Path, stub: type[Stub]) -> type[pickle.Unpickler]:
    """Return the unpickler for one file; its errors name that file."""

    class Restricted(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  # any global
            return _global(path, module, name, stub)

    return Restricted


def _global(path: Path, module: str, name: str, stub: type[Stub]) -> Any:  # noqa: ANN401  # any global
    """Return the data type behind a global, an inert stand-in of the type ``stub`` for it, or refuse it."""
    module = _RENAMED.get(module, module)
    if (module, name) in _DATA_TYPES:
        return _DATA_TYPES[module, name]
    if (module, name) in _OBJECT_BUILDERS:
        return _stub_builder(path, f"{module}.{name}")
    if (module, name) == ("_codecs", "encode"):  # how old protocols write bytes
        return lambda text, encoding: str(text).encode("latin1")
    if name in _BUILDERS.get(module, ()) or (module == "torch" and _is_torch_type(name)):
        found = getattr(importlib.import_module(module), name)
        # A function is wrapped, so that a pickle can only alter the wrapper.
        return (lambda *args: found(*args)) if isinstance(found, types.FunctionType) else found
    top = module.partition(".")[0]
    is_stdlib = top in sys.stdlib_module_names and top not in _HOLDS_DATA
    if is_stdlib or "." in name:
        raise _refusal(path, f"{module}.{name}")
    is_class = top in _HOLDS_DATA or name.lstrip("_")[:1].isupper()
    if is_class or stub is ModuleStub:
        made = types.new_class(name, (stub,), exec_body=lambda body: body.update(__module__=__name__))
        if isinstance(made, _Buildable) and not is_class:
            # A network's class may be named like a function: which of the two it is shows in how the file uses it.
            made.refusal = _refusal(path, f"{module}.{name}")
        return made
    return _refused_call(path, f"{module}.{name}")


def _is_torch_type(name: str) -> bool:
    """Return whether ``torch.<name>`` is an element type."""
    return isinstance(getattr(_torch(), name, None), _torch().dtype)


def _stub_builder(path: Path, name: str) -> Callable[..., Stub]:
    """Return a function that makes stubs of stubs and refuses anything else."""

    def build(target: object, *rest: object) -> Stub:
        del rest
        if isinstance(target, Stub) or (isinstance(target, type) and issubclass(target, Stub)):
            return Stub()
        raise _refusal(path, name)

    return build


def _refused_call(path: Path, name: str) -> Callable[..., None]:
    """Return a stand-in for a function: it may be mentioned, not called."""

    def call(*args: object, **kwargs: object) -> None:
        del args, kwargs
        raise _refusal(path, name)

    return call


def _refusal(path: Path, name: str) -> WeightsError:
    return WeightsError(f"{path} wants to run {name}, which no weights need; it was refused and nothing was run.")
