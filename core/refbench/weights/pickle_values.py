"""What becomes of the names, calls and states of a pickle: data where they are known to be, stubs, or a refusal."""

from __future__ import annotations

import collections
import sys
from typing import TYPE_CHECKING, Any

from refbench.weights.pickle_arrays import ArrayMaker, ElementType, EmptyArray, set_element_type
from refbench.weights.pickle_limits import Budget, Unreadable, refused_call, shown
from refbench.weights.stubs import Name, Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench.weights.torch_tensors import TensorMaker

_RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_HOLDS_DATA = {"argparse", "collections", "datetime", "enum", "pathlib", "types"}
"""Modules of the standard library whose classes only hold data: stubbed; everything else there is refused."""
_PLAIN_TYPES = ("bool", "complex", "float", "int", "long", "object", "range", "str", "unicode", "xrange")
"""Types that may be named (a configuration holds them), beside those that are made."""
_FACTORIES: dict[str, type] = {kind.__name__: kind for kind in (bool, dict, float, int, list, set, str, tuple)}
_LATIN = ("latin1", "latin-1")


class PickleValues:
    """Decides what a checkpoint's pickle may hold.

    Parameters
    ----------
    budget
        Counts the memory.
    stub
        Type of what stands for other objects.
    tensors
        Makes tensors; None where a file holds none.
    """

    def __init__(self, budget: Budget, stub: type[Stub] = Stub, tensors: TensorMaker | None = None) -> None:
        self._budget, self._stub, self._tensors = budget, stub, tensors
        self._names: dict[tuple[str, str], Any] = {}
        self._arrays = ArrayMaker(budget)
        self._makers: dict[tuple[str, str], Callable[..., Any]] = {
            ("builtins", "dict"): lambda *args: self._table({}, args),
            ("collections", "OrderedDict"): lambda *args: self._table(collections.OrderedDict(), args),
            ("collections", "Counter"): lambda *args: self._table(collections.Counter(), args),
            ("collections", "defaultdict"): self._default_table,
            ("builtins", "set"): self._set,
            ("builtins", "frozenset"): lambda *args: frozenset(self._set(*args)),
            ("builtins", "list"): lambda: [],
            ("builtins", "tuple"): lambda: (),
            ("builtins", "bytes"): self._bytes,
            ("builtins", "bytearray"): lambda *args: bytearray(self._bytes(*args)),
            ("builtins", "complex"): _complex,
            ("builtins", "object"): lambda: self._stub(),
            ("_codecs", "encode"): self._bytes,
            ("builtins", "getattr"): self._attribute,
            ("copyreg", "_reconstructor"): lambda kind, base, state: self._made(kind, "copyreg._reconstructor"),
            ("copyreg", "__newobj__"): lambda kind, *args: self._made(kind, "copyreg.__newobj__"),
            ("copyreg", "__newobj_ex__"): lambda kind, *args: self._made(kind, "copyreg.__newobj_ex__"),
            **self._arrays.makers(),
            **(tensors.makers(self.call) if tensors else {}),
        }

    def name(self, module: str, name: str) -> Any:  # noqa: ANN401  # a value of its own
        """Return what stands for a name: an element type of torch, or a ``Name``.

        Raises
        ------
        Unreadable
            It is dotted, or of the standard library and no holder of data.
        """
        module = _RENAMED.get(module, module)
        key = (module, name)
        if key not in self._names:
            constant = self._tensors.constant(module, name) if self._tensors else None
            self._names[key] = self._new_name(module, name) if constant is None else constant
        return self._names[key]

    def _new_name(self, module: str, name: str) -> Name:
        key = (module, name)
        if key in self._makers or (module == "builtins" and name in _PLAIN_TYPES):
            return Name(module, name, is_class=False)
        top = module.partition(".")[0]
        if (top in sys.stdlib_module_names and top not in _HOLDS_DATA) or "." in name:
            raise refused_call(f"{module}.{name}")
        return Name(module, name, is_class=top in _HOLDS_DATA or name.lstrip("_")[:1].isupper())

    def call(self, target: object, args: tuple[Any, ...], is_new: bool = False) -> Any:  # noqa: ANN401
        """Return what a call of a name, or of a stub, gives.

        Raises
        ------
        Unreadable
            A function that no weights need, or arguments that it never has in a checkpoint.
        """
        if not isinstance(target, Stub):
            raise Unreadable(f"is damaged: a pickle calls a {type(target).__name__}")
        if not isinstance(target, Name):
            return self._stub(target.name)  # a method of an object that was not rebuilt
        if maker := self._makers.get(target.key):
            try:
                return maker(*args)
            except TypeError as error:  # more or fewer arguments than it takes
                raise refused_call(target.name) from error
        # A network's class may be named like a function: making an object without calling it is what classes do.
        is_class = target.is_class or (is_new and target.key[0].partition(".")[0] not in ("builtins", "numpy"))
        if not is_class:
            if why := self._tensors.unsupported(target.key) if self._tensors else None:
                raise Unreadable(why)
            raise refused_call(target.name)
        return self._stub(target.name)

    def build(self, target: object, state: object) -> Any:  # noqa: ANN401  # a value of its own
        """Return what an object is with a state. No attribute of anything is set but those of stubs, by their code."""
        if isinstance(target, EmptyArray):
            return self._arrays.with_state(state)
        if isinstance(target, ElementType):
            set_element_type(target, state)
        elif isinstance(target, Stub) and not isinstance(target, Name):
            target.take_state(state)
        elif not isinstance(target, collections.OrderedDict | collections.Counter | collections.defaultdict):
            what = target.name if isinstance(target, Name) else f"a {type(target).__name__}"
            raise Unreadable(f"wants to alter {shown(what)}, which no weights need; it was refused and nothing was run")
        return target  # attributes of tables, such as the versions in a state dict, are dropped

    def persistent(self, key: object) -> Any:  # noqa: ANN401  # a value of its own
        """Return the storage of a key."""
        if self._tensors is None:
            raise Unreadable("is a pickle that refers to data outside of it; it was not read")
        return self._tensors.persistent(key)

    def is_inert(self, target: object) -> bool:
        """Return whether items given to an object are dropped."""
        return isinstance(target, Stub) and not isinstance(target, Name)

    def _made(self, kind: object, by: str) -> Stub:
        """Return an object of a class that is not known."""
        if isinstance(kind, Name) and kind.key in self._makers:
            raise refused_call(by)
        if not isinstance(kind, Stub):
            raise refused_call(by)
        return self._stub(kind.name)

    def _attribute(self, owner: object, name: object) -> Stub:
        """Return a stub for a bound method of an object, or of a class, that was not rebuilt."""
        if not isinstance(name, str) or not isinstance(owner, Stub) or (isinstance(owner, Name) and not owner.is_class):
            raise refused_call("builtins.getattr")
        return Stub(f"{owner.name}.{name}"[:200])

    def _table(self, made: Any, args: tuple[Any, ...]) -> Any:  # noqa: ANN401  # the dictionary that was given
        if len(args) > 1:
            raise TypeError("too many arguments")
        given = args[0] if args else []
        pairs = list(given.items()) if isinstance(given, dict) else given
        if not isinstance(pairs, list):
            raise TypeError("no table")
        self._budget.spend(200 * len(pairs))
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise TypeError("no pair")
            self._budget.check_key(pair[0], len(made))
            made[pair[0]] = pair[1]
        return made

    def _default_table(self, factory: object = None, *args: Any) -> Any:  # noqa: ANN401  # a dictionary
        if factory is not None and not isinstance(factory, Stub):
            raise TypeError("no factory")
        known = isinstance(factory, Name) and factory.key[0] == "builtins"
        kind = _FACTORIES.get(factory.key[1]) if known else None  # type: ignore[union-attr]  # it is a Name
        return self._table(collections.defaultdict(kind), args)

    def _set(self, items: object = None) -> set[Any]:
        if items is not None and not isinstance(items, list | tuple):
            raise TypeError("no list")
        made: set[Any] = set()
        self._budget.spend(200 * len(items or ()))
        for item in items or ():
            self._budget.check_key(item, len(made))
            made.add(item)
        return made

    def _bytes(self, data: object = b"", encoding: object = "latin1") -> bytes:
        if not isinstance(data, str | bytes | bytearray) or encoding not in _LATIN:
            raise TypeError("no bytes")
        self._budget.spend(2 * len(data))
        return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _complex(real: object = 0.0, imaginary: object = 0.0) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise TypeError("no numbers")
    return complex(real, imaginary)
