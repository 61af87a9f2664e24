"""Raster -> values at points: bilinear with strict NoData, and nearest. Letters: N points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import GridMismatchError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

SNAP_PX = 1e-6
"""A coordinate this close to a pixel centre is on it: in UTM the last digits of a centre are rounding."""

CHUNK = 1 << 16


def bilinear(array: NDArray[Any], col: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values at image coordinates, whose integers are pixel centres.

    Parameters
    ----------
    array
        [rows, cols] or [bands, rows, cols], any number type; NaN is NoData.
    col, row
        [...], pixels.

    Returns
    -------
    float64 [...] or [bands, ...]. NaN outside the hull of the pixel centres and wherever a pixel with a weight
    above 0 is NaN.

    Raises
    ------
    InputError
        ``array`` has another number of axes.
    """
    if array.ndim not in (2, 3):
        raise InputError(f"What is sampled must be [rows, cols] or [bands, rows, cols], got shape {array.shape}.")
    col, row = np.broadcast_arrays(np.asarray(col, np.float64), np.asarray(row, np.float64))
    bands = array.reshape(-1, *array.shape[-2:])
    flat_col, flat_row = col.ravel(), row.ravel()
    out = np.empty((len(bands), flat_col.size))
    for start in range(0, flat_col.size, CHUNK):
        part = slice(start, start + CHUNK)
        out[:, part] = _bilinear(bands, flat_col[part], flat_row[part])
    return out.reshape((*array.shape[:-2], *col.shape))


def _bilinear(bands: NDArray[Any], col: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [bands, N] at [N]."""
    rows, cols = bands.shape[1:]
    (left, right_weight), (top, lower_weight) = _split(col), _split(row)
    inside = (left >= 0) & (left + (right_weight > 0) < cols) & (top >= 0) & (top + (lower_weight > 0) < rows)
    first_col, first_row = (np.where(inside, a, 0).astype(np.intp) for a in (left, top))
    out = np.zeros((len(bands), col.size))
    for down, row_weight in ((0, 1 - lower_weight), (1, lower_weight)):
        for right, col_weight in ((0, 1 - right_weight), (1, right_weight)):
            weight = row_weight * col_weight
            pixel = np.minimum(first_row + down, rows - 1), np.minimum(first_col + right, cols - 1)
            # A pixel without weight contributes nothing, not even its NaN.
            out += np.where(weight > 0, bands[:, pixel[0], pixel[1]] * weight, 0.0)
    out[:, ~inside] = np.nan
    return out


def _split(coordinate: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixel before a coordinate and the weight of the next one; NaN and infinity lie at pixel -1."""
    coordinate = np.where(np.isfinite(coordinate), coordinate, -1.0)
    whole = np.rint(coordinate)
    coordinate = np.where(np.abs(coordinate - whole) <= SNAP_PX, whole, coordinate)
    before = np.floor(coordinate)
    return before, coordinate - before


def nearest(
    array: NDArray[Any], col: NDArray[np.float64], row: NDArray[np.float64], outside: float = np.nan
) -> NDArray[Any]:
    """Return the value of the pixel that holds each image coordinate [...], in the array's own type.

    ``array`` is [rows, cols] or [bands, rows, cols]; points on no pixel get ``outside``, which that type must hold.

    Raises
    ------
    InputError
        NaN is asked for outside an integer array.
    """
    if np.isnan(outside) and not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"An array of {array.dtype} holds no NaN; say which value stands for outside.")
    rows, cols = array.shape[-2:]
    at_col, at_row = np.floor(np.asarray(col) + 0.5), np.floor(np.asarray(row) + 0.5)
    inside = (at_col >= 0) & (at_col < cols) & (at_row >= 0) & (at_row < rows)
    at_col, at_row = (np.where(inside, a, 0).astype(np.intp) for a in (at_col, at_row))
    return np.where(inside, array[..., at_row, at_col], array.dtype.type(outside))


def sample_bilinear(
    array: NDArray[Any], grid: Grid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return values at CRS coordinates [...]; see ``bilinear``. The centre of the first pixel is (0.5, 0.5) px.

    Raises
    ------
    GridMismatchError
        The array does not have the grid's size.
    """
    return bilinear(array, *_centred(array, grid, x, y))


def sample_nearest(
    array: NDArray[Any], grid: Grid, x: NDArray[np.float64], y: NDArray[np.float64], outside: float = np.nan
) -> NDArray[Any]:
    """Return the value of the pixel that holds each point [...]; see ``nearest``.

    Raises
    ------
    GridMismatchError
        The array does not have the grid's size.
    """
    return nearest(array, *_centred(array, grid, x, y), outside=outside)


def _centred(
    array: NDArray[Any], grid: Grid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (col, row) with integers at pixel centres."""
    if array.shape[-2:] != grid.shape:
        raise GridMismatchError(f"An array of {array.shape[-2:]} rows and columns is not on a grid of {grid.shape}.")
    col, row = grid.pixel_of(np.asarray(x, np.float64), np.asarray(y, np.float64))
    return col - 0.5, row - 0.5
