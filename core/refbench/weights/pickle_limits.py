"""How much a pickle may ask for: memory, nesting, keys; and how a refusal is worded."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FREE_BYTES = 128 * 2**20
BYTES_PER_BYTE = 16
"""Python objects of a pickle take this many bytes for each byte of the file, beside the free ones."""
MAX_DEPTH = 200
"""Containers inside one another: far beyond any checkpoint, far below Python's own limit of recursion."""
MAX_NODES = 10_000_000
"""Values of a result where everything that is shared is counted each time it occurs."""
MAX_KEY_PARTS = 100
MAX_NUMERIC_KEYS = 10_000
MAX_NUMERIC_KEYS_IN_ALL = 100_000
"""Numbers as keys can be chosen to collide (their hashes are not salted), which makes a table quadratic."""
MAX_SHOWN = 120


class Unreadable(Exception):
    """Why a file is not read: the rest of a sentence that begins with the file's name and lacks its full stop."""


def shown(text: object) -> str:
    """Return a name of the file as it may stand in a message: one printable line, not too long."""
    if not isinstance(text, str | int | None):  # other values may take any time to print
        text = f"a {type(text).__name__}"
    line = str(text)[: MAX_SHOWN + 1].encode("unicode_escape").decode("ascii")
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "..."


def refused_call(name: str) -> Unreadable:
    """Return the refusal of a call of ``name``."""
    return Unreadable(f"wants to run {shown(name)}, which no weights need; it was refused and nothing was run")


class Budget:
    """Counts what a file makes its reader hold.

    Parameters
    ----------
    file_size
        Bytes of the whole file.
    by_identity
        Further types whose objects may be keys because they are hashed by identity.
    """

    def __init__(self, file_size: int, by_identity: tuple[type, ...] = ()) -> None:
        self._by_identity = by_identity
        self._left = FREE_BYTES + BYTES_PER_BYTE * file_size
        self._keys_left = MAX_NUMERIC_KEYS_IN_ALL

    def spend(self, size: int) -> None:
        """Note ``size`` more bytes of Python objects. Raises ``Unreadable`` where that is too much."""
        self._left -= size
        if self._left < 0:
            raise Unreadable("asks for far more memory than a checkpoint of its size needs; it was not read")

    def check_key(self, key: object, table_size: int) -> None:
        """Check a key of a table, or an item of a set, that holds ``table_size`` others.

        Raises
        ------
        Unreadable
            It is no text, number or small tuple of them (or object by identity), or there are too many numbers.
        """
        if isinstance(key, str | bytes) or key is None:
            return
        if isinstance(key, tuple):
            _check_tuple_key(key)
        elif not (_is_plain_key(key) or isinstance(key, self._by_identity)):
            raise Unreadable(f"has a {type(key).__name__} for a key, which no checkpoint has; it was not read")
        self._keys_left -= 1
        if table_size >= MAX_NUMERIC_KEYS or self._keys_left < 0:
            raise Unreadable("holds more numbers as keys than a checkpoint does; it was not read")


def _is_plain_key(value: object) -> bool:
    """Return whether hashing a value takes constant time (text of the file apart)."""
    if value is None or isinstance(value, str | bytes | numbers.Number):
        return True
    return type(value).__hash__ is object.__hash__  # by identity


def _check_tuple_key(key: tuple[Any, ...]) -> None:
    """Refuse tuples whose hash would recurse deeply, or exponentially through shared parts."""
    waiting, seen = [key], 0
    while waiting:
        part = waiting.pop()
        seen += len(part)
        if seen + len(waiting) > MAX_KEY_PARTS:
            raise Unreadable("has a key that is nested or long beyond what a checkpoint has; it was not read")
        for item in part:
            if isinstance(item, tuple):
                seen += 1
                waiting.append(item)
            elif not _is_plain_key(item):
                raise Unreadable(f"has a {type(item).__name__} in a key, which no checkpoint has; it was not read")


def check_nesting(value: object, roots_of: Any) -> None:  # noqa: ANN401  # a function of any value
    """Check that a result can be walked through: no cycle of containers, not too deep, not exponentially shared.

    Parameters
    ----------
    value
        What was read.
    roots_of
        Function of a value that is no container -> the containers that it holds, each checked on its own: what such
        values do with one another is their reader's affair.

    Raises
    ------
    Unreadable
        The nesting is none that a checkpoint has.
    """
    measured: dict[int, tuple[int, int]] = {}  # id -> depth, values in all
    waiting = [value]
    while waiting:
        waiting.extend(_measure(waiting.pop(), measured, roots_of))


def _measure(root: object, measured: dict[int, tuple[int, int]], roots_of: Any) -> list[Any]:  # noqa: ANN401
    """Measure one root; return the further roots found on the way. Depth first and without recursion."""
    further: list[Any] = []
    path: set[int] = set()  # containers that were entered and not left: the way from the root
    steps: list[tuple[Any, bool]] = [(root, False)]
    while steps:
        value, is_leaving = steps.pop()
        parts = _parts(value)
        if is_leaving:
            path.discard(id(value))
            measured[id(value)] = _sum_of(parts, measured)
        elif id(value) in measured:
            continue
        elif parts is None:
            measured[id(value)] = (0, 1)
            further.extend(roots_of(value))
        elif id(value) in path:
            raise Unreadable("holds a container that holds itself; it was not read")
        else:
            path.add(id(value))
            steps.append((value, True))
            steps.extend((part, False) for part in parts if not _is_leaf(part))
    return further


def _sum_of(parts: Any, measured: dict[int, tuple[int, int]]) -> tuple[int, int]:  # noqa: ANN401
    depth, nodes = 0, 1
    for part in parts:
        below, inside = (0, 1) if _is_leaf(part) else measured[id(part)]
        depth, nodes = max(depth, below + 1), nodes + inside
    if depth > MAX_DEPTH or nodes > MAX_NODES:
        raise Unreadable("is nested deeper, or shares its parts more often, than a checkpoint does; it was not read")
    return depth, nodes


def _parts(value: object) -> Iterable[Any] | None:
    """Return what a container holds; keys and items of sets are no containers beyond small tuples. None for a leaf."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else None


def _is_leaf(value: object) -> bool:
    return value is None or isinstance(value, str | bytes | int | float)
