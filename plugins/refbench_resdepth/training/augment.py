"""Flips and quarter turns of training samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def augment(array: NDArray[Any], k: int, vertical: bool, horizontal: bool) -> NDArray[Any]:
    """Return an array [..., rows, cols] turned ``k`` times by 90 degrees counter-clockwise, then flipped.

    ``vertical`` reverses the rows of the turned array, ``horizontal`` its columns. The result is contiguous.
    """
    turned = np.rot90(array, k, axes=(-2, -1))
    if vertical:
        turned = turned[..., ::-1, :]
    if horizontal:
        turned = turned[..., ::-1]
    return np.ascontiguousarray(turned)
