"""Resampling kernels that look past holes: a pixel is known where the nearest one is, whatever lies beside it.

``sample`` is strict (one unknown contributor makes a value unknown), which is right for scoring but lets the holes of a
surface grow with every resampling. Here a pixel beside a hole continues what is known, so that holes keep their size
and no unknown value enters a known one. Letters: B bands, N points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weights = Callable[[Floats], Floats]

SNAP_PX = 1e-6
"""A coordinate this close to a pixel centre or border is on it: the last digits of large coordinates are rounding."""
CHUNK = 1 << 15


def known_bilinear(bands: NDArray[Any], col: Floats, row: Floats, *, anywhere: bool = False) -> Floats:
    """Return bilinear values [B, N] of ``bands`` [B, rows, cols] (NaN unknown) at image coordinates [N].

    Integers are pixel centres. NaN where the nearest pixel is unknown or off the raster; with ``anywhere`` only where
    no contributor is known.
    """
    return _by_chunks(bands, col, row, lambda c, r: _beside_holes(bands, c, r, anywhere))


def known_cubic(bands: NDArray[Any], col: Floats, row: Floats, *, anywhere: bool = False) -> Floats:
    """Return values [B, N] by Keys' cubic convolution (a = -0.5); beside unknown pixels as ``known_bilinear``."""

    def both(c: Floats, r: Floats) -> Floats:
        values, complete = _convolved(bands, c, r, _cubic, 1)
        # Beside a hole the negative lobes would weigh what is left too much.
        return np.where(complete, values, _beside_holes(bands, c, r, anywhere))

    return _by_chunks(bands, col, row, both)


def _by_chunks(bands: NDArray[Any], col: Floats, row: Floats, sample: Callable[[Floats, Floats], Floats]) -> Floats:
    out = np.empty((len(bands), col.size))
    for start in range(0, col.size, CHUNK):
        part = slice(start, start + CHUNK)
        out[:, part] = sample(col[part], row[part])
    return out


def _linear(fraction: Floats) -> Floats:
    return np.stack([1 - fraction, fraction])


def _cubic(fraction: Floats) -> Floats:
    """Return the weights [4, N] of the pixels -1, 0, 1, 2 from the one before a coordinate."""
    f = fraction
    return 0.5 * np.stack([
        -f * (1 - f) ** 2,
        2 - 5 * f**2 + 3 * f**3,
        f * (1 + 4 * f - 3 * f**2),
        -(f**2) * (1 - f),
    ])  # fmt: skip


def _convolved(
    bands: NDArray[Any], col: Floats, row: Floats, weights: Weights, before: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the weighted means [B, N] over the known contributors, and where [B, N] all of them are known."""
    (left, across), (top, down) = _split(col), _split(row)
    weights_x, weights_y = weights(across), weights(down)
    total, known = np.zeros((len(bands), col.size)), np.zeros((len(bands), col.size))
    for j, of_row in enumerate(weights_y):
        for i, of_col in enumerate(weights_x):
            weight = of_row * of_col
            values = _pixels(bands, left - before + i, top - before + j)
            use = np.isfinite(values) & (weight != 0)
            total += np.where(use, values * weight, 0.0)
            known += np.where(use, weight, 0.0)
    some = known > 1e-6
    return np.where(some, total / np.where(some, known, 1.0), np.nan), np.abs(known - 1) < 1e-9


def _beside_holes(bands: NDArray[Any], col: Floats, row: Floats, anywhere: bool) -> Floats:
    """Return bilinear values [B, N]; where a contributor is unknown, the nearest pixel and its slope."""
    values, complete = _convolved(bands, col, row, _linear, 0)
    some = np.flatnonzero(~complete.all(axis=0))
    if not some.size:
        return values
    at_col, at_row = nearest_pixel(col[some]), nearest_pixel(row[some])
    middle = _pixels(bands, at_col, at_row)
    # A plane stays a plane up to the rim: the mean of what is left would be that of a point farther inside.
    sloped = middle + (col[some] - at_col) * _slope(bands, middle, at_col, at_row, 1, 0)
    sloped += (row[some] - at_row) * _slope(bands, middle, at_col, at_row, 0, 1)
    kept = np.where(np.isfinite(sloped), sloped, values[:, some] if anywhere else np.nan)
    values[:, some] = np.where(complete[:, some], values[:, some], kept)
    return values


def _slope(
    bands: NDArray[Any], middle: Floats, col: NDArray[np.intp], row: NDArray[np.intp], right: int, down: int
) -> Floats:
    """Return the slope per pixel [B, N] along one axis: of both neighbours, of one, or 0 where none is known."""
    before, after = _pixels(bands, col - right, row - down), _pixels(bands, col + right, row + down)
    forth, back = after - middle, middle - before
    both = np.where(np.isfinite(forth), np.where(np.isfinite(back), (forth + back) / 2, forth), back)
    return np.where(np.isfinite(both), both, 0.0)


def _pixels(bands: NDArray[Any], col: NDArray[np.intp], row: NDArray[np.intp]) -> Floats:
    """Return the pixels [B, N] at whole coordinates [N], NaN off the raster."""
    rows, cols = bands.shape[1:]
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    values = bands[:, np.where(inside, row, 0), np.where(inside, col, 0)].astype(np.float64)
    return np.where(inside, values, np.nan)


def _split(coordinate: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return the pixel before a coordinate and the fraction to the next; what is no number lies far outside."""
    coordinate = np.where(np.abs(coordinate) < 1e9, coordinate, -9.0)
    whole = np.rint(coordinate)
    coordinate = np.where(np.abs(coordinate - whole) <= SNAP_PX, whole, coordinate)
    before = np.floor(coordinate)
    return before.astype(np.intp), coordinate - before


def nearest_pixel(coordinate: Floats) -> NDArray[np.intp]:
    """Return the pixel that holds each coordinate [N]; a border belongs to the next one, rounding or not."""
    coordinate = np.where(np.abs(coordinate) < 1e9, coordinate, -9.0)
    return np.floor(coordinate + 0.5 + SNAP_PX).astype(np.intp)


def known_nearest(bands: NDArray[Any], col: Floats, row: Floats) -> Floats:
    """Return the values [B, N] of the pixels that hold image coordinates [N], NaN off the raster."""
    return _pixels(bands, nearest_pixel(col), nearest_pixel(row))


def area_mean(bands: NDArray[Any], col: Floats, row: Floats, samples: int) -> Floats:
    """Return the mean [B, N] over ``samples`` points each [N * samples]: what of a finer raster a pixel covers.

    ``col`` and ``row`` are grouped by pixel. NaN where fewer than half of a pixel's points are known.
    """
    values = known_nearest(bands, col, row)
    known = np.isfinite(values)
    count = known.reshape(len(bands), -1, samples).sum(axis=2)
    total = np.where(known, values, 0.0).reshape(len(bands), -1, samples).sum(axis=2)
    return np.where(2 * count >= samples, total / np.maximum(count, 1), np.nan)
