"""A tile without gaps: unknown heights filled, tiles that reach past the raster continued by reflection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window

Floating = TypeVar("Floating", bound=np.floating[Any])


def inside(window: Window, grid: Grid) -> tuple[slice, slice]:
    """Return the rows and columns of a tile that lie on the raster."""
    rows = slice(max(0, -window.row_off), min(window.height, grid.height - window.row_off))
    cols = slice(max(0, -window.col_off), min(window.width, grid.width - window.col_off))
    return rows, cols


def filled(heights: NDArray[Floating]) -> NDArray[Floating]:
    """Return heights or depths [rows, cols] with every NaN replaced by the nearest known one; all NaN stays."""
    unknown = np.isnan(heights)
    if not unknown.any() or unknown.all():
        return heights
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return np.asarray(heights[tuple(nearest)])


def continued(layers: NDArray[Any], part: tuple[slice, slice], shape: tuple[int, int]) -> NDArray[Any]:
    """Return ``layers`` [..., rows, cols], known on ``part`` only, continued to all of ``shape`` by reflection.

    The unit of each layer stays, metres for heights.
    """
    rows, cols = part
    if (rows.stop - rows.start, cols.stop - cols.start) == shape:
        return layers
    known = layers[(..., rows, cols)]
    around = [(0, 0)] * (layers.ndim - 2)
    edges = [(rows.start, shape[0] - rows.stop), (cols.start, shape[1] - cols.stop)]
    return np.pad(known, [*around, *edges], mode="symmetric")
