"""The official regular grid of tiles as a plan of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench import TilePlan
from refbench_resdepth.regions import blend_profile, tile_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import Grid


def plan_tiles(grid: Grid, tile: int, stride: int) -> TilePlan:
    """Return tiles every ``stride`` px, the last ones moved inwards; weights sum to 1 (docs/methods/resdepth.md)."""
    rows, row_weights, row_profiles = _axis(grid.height, tile, stride)
    cols, col_weights, col_profiles = _axis(grid.width, tile, stride)
    row_index, col_index = (index.ravel() for index in np.indices((len(rows), len(cols))))
    return TilePlan(
        tile,
        tile,
        rows[row_index],
        cols[col_index],
        row_weights,
        col_weights,
        row_profiles=row_profiles[row_index],
        col_profiles=col_profiles[col_index],
    )


def _axis(length: int, tile: int, stride: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return starts [n], the table of different weights [profiles, tile], and each tile's line in it [n]."""
    starts = tile_starts(0, length - 1, tile, stride)
    profiles = {own: blend_profile(tile, stride, *own) for own in dict.fromkeys((a, b) for _, a, b in starts)}
    lines = list(profiles)
    return (
        np.array([start for start, _, _ in starts], np.int64),
        np.stack(list(profiles.values())),
        np.array([lines.index((a, b)) for _, a, b in starts], np.int64),
    )
