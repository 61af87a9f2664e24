"""A tile as the network takes it: unknown heights filled, what lies past the raster continued by reflection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.geometry.nodata_fill import continued, filled, inside
from refbench_pix2pix.values import NDVI_MIDDLE, ndvi_levels, normalise_levels, tile_scale, to_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import Grid, Window
    from refbench_pix2pix.config import ValueConfig
    from refbench_pix2pix.values import HeightScale


def network_tile(
    heights: NDArray[np.floating],
    ndvi: NDArray[np.float32] | None,
    window: Window,
    grid: Grid,
    values: ValueConfig,
) -> tuple[NDArray[np.float32], HeightScale] | None:
    """Return the input [1 or 2, rows, cols] of a tile and the scale of its heights; None where it has no height.

    ``heights`` [rows, cols] are metres, NaN where unknown: in the 8-bit path those are level 0, as published, else
    they are filled by the nearest. ``ndvi`` [rows, cols] lies in [-1, 1].
    """
    part = inside(window, grid)
    known = heights[part]
    if np.isnan(known).all():
        return None
    scale = tile_scale(known, values)
    if values.path != "8bit":
        known = filled(known)
    channels = [to_network(known, scale, values)]
    if ndvi is not None:
        levels = ndvi_levels(ndvi[part])
        if values.path == "8bit":
            levels = np.where(np.isnan(known), 0, np.rint(levels))
        channels.append(normalise_levels(levels, NDVI_MIDDLE))
    whole = np.zeros((len(channels), window.height, window.width), np.float32)
    whole[(slice(None), *part)] = np.stack(channels)
    return continued(whole, part, (window.height, window.width)), scale
