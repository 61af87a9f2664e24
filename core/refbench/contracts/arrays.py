"""Checks and freezing of the arrays that contracts hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from refbench.contracts.errors import ArrayError

if TYPE_CHECKING:
    import numpy as np

A = TypeVar("A", bound="np.ndarray[Any, Any]")


def frozen(array: A) -> A:
    """Return a read-only view of ``array``: methods may look, not touch."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_shape(name: str, array: np.ndarray[Any, Any], axes: str) -> dict[str, int]:
    """Check ``array`` against axis letters and return what each letter stands for.

    Parameters
    ----------
    name
        What the array is, for the message.
    array
        Any array.
    axes
        One word per axis: a number is exact, a letter binds, as in ``"N 3"`` or ``"bands rows cols"``.

    Raises
    ------
    ArrayError
        Another number of axes, or a fixed axis of another length.
    """
    words = axes.split()
    if array.ndim != len(words):
        raise ArrayError(f"{name} must be [{axes}], got shape {array.shape}.")
    bound: dict[str, int] = {}
    for word, length in zip(words, array.shape, strict=True):
        expected = int(word) if word.isdigit() else bound.setdefault(word, length)
        if expected != length:
            raise ArrayError(f"{name} must be [{axes}], got shape {array.shape}.")
    return bound
