"""Where patches lie and how they blend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.tiles import TilePlan
from refbench_implicity.images import patch_window
from refbench_implicity.training.dataset import window_anchors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

    Rectangle = tuple[NDArray[np.float64], NDArray[np.float64]]

LEAST_WEIGHT = 1e-3


def blend_profile(count: int, fraction: float) -> NDArray[np.float64]:
    """Return the weights float64 [count] along one axis: a ramp from 1e-3 to 1, ones, the falling ramp.

    ``fraction`` of the patch, rounded down, lies under each ramp; at most 0.5. A ramp of one pixel is 1e-3 at the start
    and 1 at the end, as published.
    """
    ramp = math.floor(count * fraction)
    weights = np.ones(count)
    weights[:ramp] = np.linspace(LEAST_WEIGHT, 1, ramp)
    weights[count - ramp :] = np.linspace(1, LEAST_WEIGHT, ramp)
    return weights


def patch_pixels(grid: Grid, patch_size: float) -> tuple[int, int]:
    """Return (rows, cols) of a patch of ``patch_size`` metres, rounded to whole pixels, at least 2."""
    x, y = grid.resolution
    return max(round(patch_size / y), 2), max(round(patch_size / x), 2)


def patch_extent(grid: Grid, patch_size: float) -> NDArray[np.float64]:
    """Return the (x, y) metres that a patch covers: whole pixels. Float64 [2]."""
    rows, cols = patch_pixels(grid, patch_size)
    found: NDArray[np.float64] = np.array([cols, rows]) * np.array(grid.resolution)
    return found


def plan_patches(
    grid: Grid,
    patch_size: float,
    stride: tuple[float, float],
    half_blend: tuple[float, float],
    areas: Sequence[Rectangle] = (),
) -> TilePlan:
    """Return the plan of patches of ``patch_size`` metres every ``stride`` (x, y) metres over a grid.

    Parameters
    ----------
    grid
        North-up. Where it is smaller than a patch, the patch is centred on it and reaches past it.
    patch_size, stride
        Metres.
    half_blend
        Share under the rising ramp along columns and rows.
    areas
        Rectangles (low [2], high [2]) that are covered one by one, such as chunks; the whole grid by default.
    """
    rows, cols = patch_pixels(grid, patch_size)
    size = patch_extent(grid, patch_size)
    if not areas:
        bounds = grid.bounds
        areas = [(np.array([bounds.west, bounds.south]), np.array([bounds.east, bounds.north]))]
    anchors = np.concatenate([_anchors(grid, low, high, size, np.array(stride)) for low, high in areas])
    windows = [patch_window(grid, anchor, size) for anchor in anchors]
    return TilePlan(
        rows,
        cols,
        np.array([window.row_off for window in windows], np.int64),
        np.array([window.col_off for window in windows], np.int64),
        blend_profile(rows, half_blend[1]),
        blend_profile(cols, half_blend[0]),
        anchors,
    )


def _anchors(
    grid: Grid,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    size: NDArray[np.float64],
    stride: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return south-west corners [n, 2] over a rectangle, which is first grown to a patch by whole pixels."""
    pixel = np.array(grid.resolution)
    lacking = np.maximum(np.ceil((size - (high - low)) / pixel - 1e-6), 0)
    low = low - (lacking // 2) * pixel
    return window_anchors(low, np.where(lacking > 0, low + size, high), size, stride)
