"""Points -> statistics of the cell that holds them. Letters: N points, ``rows`` and ``cols`` of the grid.

Cell (i, j) of a north-up grid covers ``[x0 + j r, x0 + (j+1) r) x (y0 - (i+1) r, y0 - i r]``: the floor rule.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

CHUNK = 1 << 16
"""Points handled at a time: their temporaries stay in the cache."""


def to_pixels(xyz: NDArray[np.float64], grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return fractional (col, row), each float64 [N], of ``xyz`` [N, >=2] in corner coordinates; floor is the cell."""
    t = grid.transform
    if t.b or t.d:
        return grid.pixel_of(xyz[:, 0], xyz[:, 1])
    # A division, not a product with 1/r: the floor rule is stated with it, and the two differ on cell borders.
    return (xyz[:, 0] - t.c) / t.a, (xyz[:, 1] - t.f) / t.e


def in_cells(
    xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Yield chunks (flat cell index, value) of the points that lie on the grid and hold a finite value.

    Parameters
    ----------
    xyz
        float64 [N, >=2] in the CRS of ``grid``.
    values
        [N], any number type.
    grid
        Cells are numbered row by row.
    """
    for start in range(0, len(xyz), CHUNK):
        col, row = to_pixels(xyz[start : start + CHUNK], grid)
        value = np.asarray(values[start : start + CHUNK], np.float64)
        keep = (col >= 0) & (col < grid.width) & (row >= 0) & (row < grid.height) & np.isfinite(value)
        if not keep.all():
            col, row, value = col[keep], row[keep], value[keep]
        # Truncation is floor here: nothing negative is left.
        yield row.astype(np.intp) * grid.width + col.astype(np.intp), value


def counts(xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Return the number of points in every cell, float64 [rows, cols]; 0 where there is none."""
    out = np.zeros(grid.height * grid.width)
    for cell, _ in in_cells(xyz, values, grid):
        np.add.at(out, cell, 1.0)
    return out.reshape(grid.shape)


def extremes(xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid, highest: bool) -> NDArray[np.float64]:
    """Return the maximum (or minimum) of every cell, float64 [rows, cols]; NaN where there is no point."""
    empty = -np.inf if highest else np.inf
    ufunc = np.maximum if highest else np.minimum
    out = np.full(grid.height * grid.width, empty)
    for cell, value in in_cells(xyz, values, grid):
        ufunc.at(out, cell, value)
    out[out == empty] = np.nan
    return out.reshape(grid.shape)


def means(xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Return the mean of every cell, float64 [rows, cols]; NaN where there is no point."""
    total, number = np.zeros(grid.height * grid.width), np.zeros(grid.height * grid.width)
    for cell, value in in_cells(xyz, values, grid):
        np.add.at(total, cell, value)
        np.add.at(number, cell, 1.0)
    return divided(total, number).reshape(grid.shape)


def deviations(xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Return the population standard deviation of every cell, float64 [rows, cols]; NaN where there is no point."""
    mean = means(xyz, values, grid).ravel()
    squares, number = np.zeros(mean.size), np.zeros(mean.size)
    # A second pass about the mean: a difference of sums of squares would lose the digits of flat cells.
    for cell, value in in_cells(xyz, values, grid):
        np.add.at(squares, cell, (value - mean[cell]) ** 2)
        np.add.at(number, cell, 1.0)
    return np.sqrt(divided(squares, number)).reshape(grid.shape)


def quantiles(xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid, fraction: float) -> NDArray[np.float64]:
    """Return a quantile of every cell, float64 [rows, cols], linear between order statistics; NaN where empty.

    Parameters
    ----------
    fraction
        0 to 1; 0.5 is the median.
    """
    ordered, number = _by_cell(xyz, values, grid)
    first = np.cumsum(number) - number
    out = np.full(number.size, np.nan)
    order = np.argsort(number, kind="stable")
    edges = np.flatnonzero(np.diff(number[order], prepend=-1, append=np.iinfo(np.int64).max))
    # Cells with the same number of points form a matrix; there are at most sqrt(2 N) different numbers.
    for start, stop in pairwise(edges):
        cells = order[start:stop]
        count = int(number[cells[0]])
        if count:
            out[cells] = _row_quantile(ordered[first[cells, None] + np.arange(count)], fraction)
    return out.reshape(grid.shape)


def _by_cell(
    xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the values ordered by cell, and the number of them in every cell."""
    from scipy.sparse import coo_array

    chunks = list(in_cells(xyz, values, grid))
    cell = np.concatenate([c for c, _ in chunks]) if chunks else np.zeros(0, np.intp)
    value = np.concatenate([v for _, v in chunks]) if chunks else np.zeros(0)
    del chunks
    # COO -> CSR is a counting sort: linear, unlike argsort, which takes ten times as long here.
    rows = coo_array((value, (cell, np.arange(cell.size))), shape=(grid.height * grid.width, max(1, cell.size)))
    matrix = rows.tocsr()
    return np.asarray(matrix.data, np.float64), np.diff(matrix.indptr).astype(np.int64)


def _row_quantile(matrix: NDArray[np.float64], fraction: float) -> NDArray[np.float64]:
    """Return the quantile of every row of [n, count]."""
    place = fraction * (matrix.shape[1] - 1)
    low = int(place)
    high = min(low + 1, matrix.shape[1] - 1)
    matrix.sort(axis=1)
    below, above = matrix[:, low], matrix[:, high]
    return np.asarray(below + (place - low) * (above - below))


def divided(total: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``total / weight``, NaN where the weight is 0. Float64 in the shape of both, in the unit of ``total``."""
    return np.asarray(np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0))
