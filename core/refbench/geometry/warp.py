"""Raster -> raster on another grid. ``bilinear`` and ``nearest`` are strict; ``gdal_...`` is GDAL's own warper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import SUPPORTED_RESAMPLING, reproject

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.contracts.grid import Window
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Mask
from refbench.geometry.crs_map import crs_map
from refbench.geometry.sample import sample_bilinear, sample_nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

kernels = ("bilinear", "nearest", *(f"gdal_{kernel.name}" for kernel in SUPPORTED_RESAMPLING))
"""Names of the kernels. GDAL's average is over the valid cells and its cubic falls back beside NoData."""

BLOCK_ROWS = 256


def warp(array: NDArray[Any], src_grid: Grid, dst_grid: Grid, kernel: str = "bilinear") -> NDArray[Any]:
    """Return an array resampled to another grid, with NaN where there is no data.

    Parameters
    ----------
    array
        [rows, cols] or [bands, rows, cols] on ``src_grid``; floating point, NaN is NoData.
    src_grid, dst_grid
        With CRS that differ the coordinates are transformed; a grid without CRS is taken to be in the other's.
    kernel
        One of ``kernels``. ``bilinear``: any invalid contributor makes the pixel invalid. For masks see ``warp_mask``.

    Returns
    -------
    [rows, cols] or [bands, rows, cols] of ``dst_grid``, in the type of ``array``.

    Raises
    ------
    InputError
        An unknown kernel, or an array of integers (their NoData is not NaN).
    GridMismatchError
        The array does not have the size of its grid.
    """
    if kernel not in kernels:
        raise InputError(f"There is no resampling kernel {kernel!r}; choose one of {', '.join(kernels)}.")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"Arrays of {array.dtype} are not interpolated; use warp_mask, or turn them into float32.")
    if array.shape[-2:] != src_grid.shape:
        raise GridMismatchError(f"An array of {array.shape[-2:]} rows and columns is not on a grid {src_grid.shape}.")
    if kernel.startswith("gdal_"):
        return _gdal(array, src_grid, dst_grid, Resampling[kernel.removeprefix("gdal_")])
    sample = sample_bilinear if kernel == "bilinear" else sample_nearest
    out = np.empty((*array.shape[:-2], *dst_grid.shape), array.dtype)
    for rows, x, y in centres_in(src_grid, dst_grid):
        out[..., rows, :] = sample(array, src_grid, x, y)
    return out


def warp_dsm(dsm: DSM, grid: Grid, kernel: str = "bilinear") -> DSM:
    """Return a DSM on another grid; see ``warp``."""
    return DSM(warp(dsm.heights, dsm.grid, grid, kernel), grid)


def warp_mask(mask: Mask, grid: Grid) -> Mask:
    """Return a mask on another grid by its nearest pixels; unknown outside.

    Raises
    ------
    InputError
        The mask has no grid.
    """
    if mask.grid is None:
        raise InputError(f"Mask {mask.name} has no grid, so it cannot be resampled.")
    out = np.empty(grid.shape, np.uint8)
    for rows, x, y in centres_in(mask.grid, grid):
        out[rows] = sample_nearest(mask.values, mask.grid, x, y, outside=MASK_UNKNOWN)
    return Mask(out, grid, mask.name)


def centres_in(src_grid: Grid, dst_grid: Grid) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield blocks (rows, x, y): pixel centres of ``dst_grid``, [rows, cols] each, in the CRS of ``src_grid``."""
    convert = None
    if src_grid.crs is not None and dst_grid.crs is not None and src_grid.crs != dst_grid.crs:
        convert = crs_map(dst_grid.crs, src_grid.crs, dst_grid.bounds)
    for first in range(0, dst_grid.height, BLOCK_ROWS):
        number = min(BLOCK_ROWS, dst_grid.height - first)
        x, y = dst_grid.window(Window(0, first, dst_grid.width, number)).centres()
        yield slice(first, first + number), *(convert(x, y) if convert else (x, y))


def _gdal(array: NDArray[Any], src_grid: Grid, dst_grid: Grid, kernel: Resampling) -> NDArray[Any]:
    """Return GDAL's answer, with NaN as NoData on both sides."""
    out = np.full((*array.shape[:-2], *dst_grid.shape), np.nan, array.dtype)
    # GDAL wants some CRS; where one is missing or both are, any common one leaves the coordinates alone.
    crs = src_grid.crs or dst_grid.crs or CRS.from_epsg(3857)
    reproject(
        np.ascontiguousarray(array),
        out,
        src_transform=src_grid.transform,
        src_crs=crs,
        src_nodata=np.nan,
        dst_transform=dst_grid.transform,
        dst_crs=dst_grid.crs or crs,
        dst_nodata=np.nan,
        resampling=kernel,
    )
    return out
