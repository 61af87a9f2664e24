"""Numeric arrays out of a pickle: every argument is checked, and numpy gets raw bytes of a known size and type only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.weights.pickle_limits import Budget, Unreadable, refused_call, shown
from refbench.weights.stubs import Name, Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAX_AXES = 32
MAX_LENGTH = 2**48
ELEMENT_TYPES = {
    spec: np.dtype(spec)
    for spec in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
}
"""The element types that are read, as numpy pickles their names: numbers, none of which is a pointer."""


class ElementType(Stub):
    """An element type of numpy, with a byte order once its state was read."""

    def __init__(self, spec: str) -> None:
        super().__init__("numpy.dtype")
        self.spec = spec
        self.order = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type with its byte order."""
        return ELEMENT_TYPES[self.spec].newbyteorder(self.order)  # type: ignore[arg-type]  # one of <, >, =


class EmptyArray(Stub):
    """An array of numpy before its state was read."""


class ArrayMaker:
    """Makes arrays of what numpy pickles."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def makers(self) -> dict[tuple[str, str], Callable[..., Any]]:
        """Return the functions that stand for those of numpy."""
        return {
            ("numpy", "dtype"): self.element_type,
            ("numpy._core.multiarray", "_reconstruct"): self.empty,
            ("numpy._core.multiarray", "scalar"): self.scalar,
            ("numpy._core.numeric", "_frombuffer"): self.from_buffer,
        }

    def element_type(self, spec: object, align: object = False, copy: object = False) -> ElementType:
        """Return the element type that ``numpy.dtype`` is asked for."""
        if not isinstance(spec, str) or spec not in ELEMENT_TYPES or not _is_flag(align) or not _is_flag(copy):
            raise Unreadable(f"holds an array of element type {shown(spec)!r}; arrays of plain numbers alone are read")
        return ElementType(spec)

    def empty(self, kind: object, shape: object, spec: object) -> EmptyArray:
        """Return what awaits an array's state."""
        if not isinstance(kind, Name) or kind.key != ("numpy", "ndarray"):
            raise refused_call(kind.name if isinstance(kind, Stub) else "numpy._core.multiarray._reconstruct")
        if shape != (0,) or spec not in (b"b", "b"):
            raise Unreadable("is damaged: an array is announced otherwise than numpy does")
        return EmptyArray("numpy.ndarray")

    def scalar(self, kind: object, data: object) -> Any:  # noqa: ANN401  # a number of numpy
        """Return a number of numpy."""
        return self._array(kind, (), data, "C")[()]

    def from_buffer(self, data: object, kind: object, shape: object, order: object) -> NDArray[Any]:
        """Return an array of its raw bytes. Of the shape and element type (float32, int64, ...) that it states."""
        return self._array(kind, shape, data, order)

    def with_state(self, state: object) -> NDArray[Any]:
        """Return the array of a state: version, shape, element type, whether column-major, raw bytes.

        Float, int or bool elements.
        """
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1 or not _is_flag(state[3]):
            raise Unreadable("is damaged: the state of an array is not what numpy writes")
        return self._array(state[2], state[1], state[4], "F" if state[3] else "C")

    def _array(self, kind: object, shape: object, data: object, order: object) -> NDArray[Any]:
        if not isinstance(kind, ElementType):
            raise Unreadable("holds an array without an element type; arrays of plain numbers alone are read")
        if isinstance(data, str):  # Python 2 wrote bytes as text
            data = data.encode("latin1")
        count = math.prod(checked_lengths(shape, "an array's shape"))
        if not isinstance(data, bytes | bytearray) or order not in ("C", "F"):
            raise Unreadable("is damaged: an array has no raw bytes or no order of its axes")
        dtype = kind.dtype
        if len(data) != count * dtype.itemsize:
            raise Unreadable(f"is damaged: an array of {count * dtype.itemsize} bytes has {len(data)}")
        self._budget.spend(2 * len(data))
        # Any byte but 0 is true; a truth value of another byte than 1 is undefined for compiled code.
        flat = np.frombuffer(data, np.uint8) != 0 if dtype.kind == "b" else np.frombuffer(data, dtype)
        return np.array(flat, dtype.newbyteorder("=")).reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


def set_element_type(kind: ElementType, state: object) -> None:
    """Give an element type its byte order; fields, sub-arrays, sizes, flags and metadata are refused."""
    plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:5] == (None, None, None)
    if not plain or state[5:] != (-1, -1, 0) or state[1] not in ("<", ">", "|", "="):  # type: ignore[index]
        raise Unreadable("holds an array of a compound element type; arrays of plain numbers alone are read")
    order = state[1]  # type: ignore[index]
    kind.order = "=" if order == "|" else order


def checked_lengths(values: object, what: str) -> tuple[int, ...]:
    """Return a tuple of lengths of axes (or of strides). Raises ``Unreadable`` where it is none."""
    if not isinstance(values, tuple) or len(values) > MAX_AXES:
        raise Unreadable(f"is damaged: {what} is no tuple of up to {MAX_AXES} whole numbers")
    if not all(type(value) is int and 0 <= value < MAX_LENGTH for value in values):
        raise Unreadable(f"is damaged: {what} is no tuple of whole numbers that can be")
    return values


def _is_flag(value: object) -> bool:
    return type(value) in (bool, int) and value in (0, 1)
