"""From matched points to an initial DSM, in the ways that producers take: gridding, median, rejection, filling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from refbench.geometry.nodata_fill import filled
from refbench.geometry.rasterise import rasterise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.city.variation import Making
    from refbench.contracts.grid import Grid

    F4 = NDArray[np.float32]

SMALL_PX = 5
"""Half the width of the holes that ``fill`` ``small`` closes."""
LOW_PX = 5


def finished(clouds: Sequence[NDArray[np.float64]], grid: Grid, making: Making) -> F4:
    """Return heights float32 [rows, cols], NaN where unknown.

    Parameters
    ----------
    clouds
        Points float64 [N, 3] of each matching; the DSM is the median of theirs.
    grid
        The reference grid.
    making
        What is done, in this order: gridding, median of the passes, rejection, median filter, smoothing, filling.
    """
    layers = np.stack([rasterise(points, grid, making.layer).astype(np.float32) for points in clouds])
    return completed(layers[0] if len(layers) == 1 else _median(layers), making)


def completed(heights: F4, making: Making) -> F4:
    """Return gridded heights [rows, cols] after rejection, median filter, smoothing and filling."""
    if making.reject_m:
        around = ndimage.median_filter(filled(heights), 5)
        heights = np.where(np.abs(heights - around) > making.reject_m, np.float32(np.nan), heights)
    unknown = np.isnan(heights)
    if unknown.all():
        return heights
    whole = _filled(heights, making.fill_by)
    if making.median_px:
        whole = ndimage.median_filter(whole, making.median_px)
    if making.smooth_px:
        whole = ndimage.gaussian_filter(whole, making.smooth_px)
    return np.where(_open(unknown, making.fill), np.float32(np.nan), whole).astype(np.float32)


def _median(layers: F4) -> F4:
    with np.errstate(all="ignore"):
        known = np.isfinite(layers).any(axis=0)
        out = np.full(layers.shape[1:], np.nan, np.float32)
        out[known] = np.nanmedian(layers[:, known], axis=0)
    return out


def _open(unknown: NDArray[np.bool_], fill: str) -> NDArray[np.bool_]:
    """Return the holes that stay."""
    if fill == "all":
        return np.zeros_like(unknown)
    if fill == "small":
        return np.asarray(ndimage.distance_transform_edt(np.pad(unknown, 1))[1:-1, 1:-1] > SMALL_PX)
    return unknown


def _filled(heights: F4, how: str) -> F4:
    """Return heights without holes: by the nearest, by the lowest around (background), or smoothly between."""
    unknown = np.isnan(heights)
    if not unknown.any():
        return heights
    nearest = filled(heights)
    if how == "nearest":
        return nearest
    if how == "low":
        low = ndimage.gaussian_filter(ndimage.minimum_filter(nearest, LOW_PX), LOW_PX / 3)
        return np.where(unknown, low, heights).astype(np.float32)
    # Relaxation from coarse to fine towards the membrane through the rim.
    smooth = nearest.copy()
    for sigma in (8.0, 4.0, 2.0, 1.0, 1.0):
        smooth = np.where(unknown, ndimage.gaussian_filter(smooth, sigma), heights)
    return np.asarray(smooth, np.float32)
