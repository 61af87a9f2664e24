"""Which pixels of a sample count in the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reference_mask(reference: NDArray[np.floating[Any]], nodata: float | None = None) -> NDArray[np.bool_]:
    """Return where true heights [..., rows, cols] count in training: not NaN, not ``nodata`` and not exactly 0.

    0 counts as missing because published reference is filled with it; the evaluation does count it.
    """
    valid: NDArray[np.bool_] = ~np.isnan(reference) & (reference != 0)
    return valid if nodata is None else valid & (reference != nodata)


def own_part(tile: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels [tile, tile] of a tile's own intervals (first, last) along rows and columns, inclusive.

    Nothing where one is empty. A validation sample counts where this and ``reference_mask`` hold.
    """
    index = np.arange(tile)
    inside_rows, inside_cols = ((first <= index) & (index <= last) for first, last in (rows, cols))
    return inside_rows[:, None] & inside_cols
