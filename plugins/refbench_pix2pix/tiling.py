"""Where tiles lie: the official grid of separate tiles, or overlapping ones that blend without seams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench import TilePlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import Grid


def plan_tiles(grid: Grid, tile: int, overlap: float) -> TilePlan:
    """Return tiles from the upper-left corner on; those past the edge are padded and cropped.

    ``overlap`` is the fraction of a tile that it shares with the next one; there the tiles blend by raised cosines.
    """
    shared = round(tile * overlap)
    weights = profile(tile, shared)
    rows, cols = (_starts(length, tile, tile - shared) for length in grid.shape)
    row_index, col_index = (index.ravel() for index in np.indices((len(rows), len(cols))))
    return TilePlan(tile, tile, rows[row_index], cols[col_index], weights, weights)


def profile(tile: int, shared: int) -> NDArray[np.float64]:
    """Return weights [tile] that rise and fall over ``shared`` px; those of two neighbours sum to 1."""
    weights = np.ones(tile)
    if shared:
        rise = (1 - np.cos(np.pi * (np.arange(shared) + 0.5) / shared)) / 2
        weights[:shared], weights[-shared:] = rise, rise[::-1]
    return weights


def _starts(length: int, tile: int, stride: int) -> NDArray[np.int64]:
    count = 1 + max(0, -(-(length - tile) // stride))
    return stride * np.arange(count, dtype=np.int64)
