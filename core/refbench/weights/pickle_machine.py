"""A pickle interpreter that imports nothing, calls nothing and sets no attribute.

Opcodes build plain Python values. What names a class or a function goes to the ``Values`` that the machine was given:
it alone decides what becomes of a name, a call and a state, and answers with values of its own.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from refbench.weights.pickle_limits import Unreadable

if TYPE_CHECKING:
    from typing import BinaryIO

    from refbench.weights.pickle_limits import Budget

# What objects take in CPython, rounded up: empty ones, and an entry of a table, a list or the stack.
LIST, DICT, SET, TUPLE, _MARK, _ENTRY, SLOT = 64, 72, 224, 56, 96, 112, 12

MAX_NAME = 500
RECENT = 64
"""Entries of the memo in which an object that was given its state is looked for."""


class Values(Protocol):
    """What decides about everything that is no plain value."""

    def name(self, module: str, name: str) -> Any:  # noqa: ANN401  # a value of its own
        """Return what stands for a name."""

    def call(self, target: Any, args: tuple[Any, ...], is_new: bool = False) -> Any:  # noqa: ANN401
        """Return what a call gives; ``is_new`` where an object is made without its class being called."""

    def build(self, target: Any, state: Any) -> Any:  # noqa: ANN401  # a value of its own
        """Return what an object is with a state."""

    def persistent(self, key: Any) -> Any:  # noqa: ANN401  # a value of its own
        """Return what a key outside of the pickle stands for."""

    def is_inert(self, target: Any) -> bool:  # noqa: ANN401  # a value of its own
        """Return whether items given to an object are dropped."""


class Machine:
    """Reads one pickle from where a file stands.

    Parameters
    ----------
    file
        Opened for reading, at the first opcode.
    end
        Position in the file that is never read beyond.
    values
        Decides about names, calls and states.
    budget
        Counts the memory.
    """

    def __init__(self, file: BinaryIO, end: int, values: Values, budget: Budget) -> None:
        self._file, self._left = file, end - file.tell()
        self._values, self._budget = values, budget
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def read(self, size: int) -> bytes:
        """Return the next bytes; the size is checked before anything is allocated."""
        if not 0 <= size <= self._left:
            raise Unreadable("is damaged: it ends in the middle of a pickle")
        self._left -= size
        data = self._file.read(size)
        if len(data) != size:
            raise Unreadable("is damaged: it ends in the middle of a pickle")
        return data

    def line(self) -> bytes:
        """Return the next line without its end."""
        data = self._file.readline(self._left)
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise Unreadable("is damaged: it ends in the middle of a pickle")
        return data[:-1]

    def number(self, form: str) -> Any:  # noqa: ANN401  # int or float
        """Return a number of a ``struct`` form."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._budget.spend(SLOT)
        self.stack.append(value)

    def push_new(self, value: object, size: int) -> None:
        """Put a new object of a size on the stack."""
        self._budget.spend(size)
        self.push(value)

    def pop(self) -> Any:  # noqa: ANN401  # any value
        """Take the topmost value."""
        if not self.stack:
            raise Unreadable("is damaged: a pickle takes more values than it has")
        return self.stack.pop()

    def top(self) -> Any:  # noqa: ANN401  # any value
        """Return the topmost value."""
        if not self.stack:
            raise Unreadable("is damaged: a pickle takes more values than it has")
        return self.stack[-1]

    def mark(self) -> None:
        """Begin a group."""
        self._budget.spend(_MARK)
        self.marked.append(self.stack)
        self.stack = []

    def group(self) -> list[Any]:
        """Take all values since the last mark."""
        if not self.marked:
            raise Unreadable("is damaged: a pickle closes a group that it has not opened")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def remember_next(self) -> None:
        """Keep the topmost value under the next number."""
        self.remember(len(self.memo))

    def check_frame(self, size: int) -> None:
        """Check that a frame ends within the file."""
        if size > self._left:
            raise Unreadable("is damaged: it ends in the middle of a pickle")

    def remember(self, index: int) -> None:
        """Keep the topmost value under a number."""
        value = self.top()
        if index not in self.memo:
            self._budget.spend(_ENTRY)
        self.memo[index] = value

    def recall(self, index: int) -> None:
        """Push the value of a number."""
        if index not in self.memo:
            raise Unreadable("is damaged: a pickle refers to a value that it has not")
        self.push(self.memo[index])

    def extend(self, items: list[Any]) -> None:
        """Append to the list on the stack."""
        target = self.top()
        if type(target) is list:
            self._budget.spend(SLOT * len(items))
            target.extend(items)
        elif not self._values.is_inert(target):
            raise Unreadable(f"is damaged: a pickle appends to a {type(target).__name__}")

    def fill(self, items: list[Any]) -> None:
        """Put keys and values in turn into the table on the stack."""
        target = self.top()
        if len(items) % 2:
            raise Unreadable("is damaged: a pickle has a key without a value")
        if not isinstance(target, dict):
            if not self._values.is_inert(target):
                raise Unreadable(f"is damaged: a pickle sets an item of a {type(target).__name__}")
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._budget.check_key(key, len(target))
            self._budget.spend(_ENTRY)
            target[key] = value

    def unite(self, items: list[Any]) -> None:
        """Put items into the set on the stack."""
        target = self.top()
        if type(target) is not set:
            if not self._values.is_inert(target):
                raise Unreadable(f"is damaged: a pickle adds an item to a {type(target).__name__}")
            return
        self._add(target, items)

    def frozen(self, items: list[Any]) -> None:
        """Push a frozen set."""
        made: set[Any] = set()
        self._add(made, items)
        self.push_new(frozenset(made), SET)

    def _add(self, target: set[Any], items: list[Any]) -> None:
        for item in items:
            self._budget.check_key(item, len(target))
            self._budget.spend(_ENTRY)
            target.add(item)

    def push_tuple(self, items: list[Any]) -> None:
        """Push a tuple."""
        self.push_new(tuple(items), TUPLE + 8 * len(items))

    def name(self, module: object, name: object) -> None:
        """Push what stands for a name."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Unreadable("is damaged: a pickle names something by what is no text")
        if len(module) + len(name) > MAX_NAME:
            raise Unreadable("is damaged: a pickle has a name that is too long for one")
        self.push_new(self._values.name(module, name), DICT)

    def call(self, target: object, args: object, is_new: bool = False) -> None:
        """Push what a call gives."""
        if not isinstance(args, tuple):
            raise Unreadable("is damaged: a pickle calls with arguments that are no tuple")
        self.push_new(self._values.call(target, args, is_new), SET)

    def build(self) -> None:
        """Give the object on the stack its state; where that makes another value of it, the memo follows."""
        state, target = self.pop(), self.pop()
        made = self._values.build(target, state)
        if made is not target:
            # A pickle remembers an object just before its state, whose parts are all that it remembers in between.
            for index in islice(reversed(self.memo), RECENT):
                if self.memo[index] is target:
                    self.memo[index] = made
                    break
        self.push(made)

    def persistent(self, key: object) -> None:
        """Push what a key outside of the pickle stands for."""
        self.push(self._values.persistent(key))
