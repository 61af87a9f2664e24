"""Points -> weighted means over a neighbourhood of every cell centre: Gaussian (disc or square window) and IDW.

Points outside the grid feed the cells near its border. All arithmetic is relative to the grid's corner.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refbench.contracts.errors import InputError
from refbench.geometry.cells import CHUNK, divided, to_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

    Weigh = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Neighbourhood(NamedTuple):
    """What lies around every cell centre; each float64 [rows, cols]."""

    mean: NDArray[np.float64]
    """Weighted mean of the values; NaN where the weights sum to 0."""
    weight: NDArray[np.float64]
    """Sum of the weights; 0 where there is no point."""
    number: NDArray[np.float64]
    """Number of points; 0 where there is none."""


def gaussian(
    xyz: NDArray[np.float64],
    values: NDArray[Any],
    grid: Grid,
    *,
    radius: int = 1,
    sigma: float | None = None,
    shape: str = "disc",
) -> Neighbourhood:
    """Return the Gaussian mean around every cell centre, with weights ``exp(-d^2 / 2 sigma^2)``.

    Parameters
    ----------
    xyz
        float64 [N, >=2] in the CRS of ``grid``.
    values
        [N], any number type.
    grid
        Where to put cells; distances go through its transform, whatever the affine.
    radius
        In cells. ``disc``: points nearer than ``(radius + 0.5) r`` to the centre, strictly, with r the ground sampling
        distance; with radius 0 the corners of a cell are in no disc. ``square``: points whose cell is at most
        ``radius`` columns and rows away.
    sigma
        In metres; None or infinity is the plain mean.
    shape
        ``disc`` or ``square``.

    Raises
    ------
    InputError
        A negative radius, a sigma that is not positive, or an unknown shape.
    """
    if radius < 0 or int(radius) != radius:
        raise InputError(f"The radius is a whole number of cells >= 0, got {radius}.")
    if sigma is not None and not sigma > 0:
        raise InputError(f"Sigma is a positive number of metres (None for the plain mean), got {sigma}.")
    if shape not in ("disc", "square"):
        raise InputError(f"The neighbourhood's shape is disc or square, got {shape!r}.")
    exponent = 0.0 if sigma is None else -0.5 / sigma**2
    limit = ((radius + 0.5) * grid.gsd) ** 2 if shape == "disc" else math.inf

    def weigh(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(squared < limit, np.exp(exponent * squared), 0.0)

    reach = (int(radius), int(radius)) if shape == "square" else _reach(grid, math.sqrt(limit))
    total, weight, count = _accumulate(xyz, values, grid, reach, weigh, lambda d2: d2 < limit)
    return Neighbourhood(divided(total, weight), weight, count)


def idw(
    xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid, *, distance: float, power: float = 2.0
) -> NDArray[np.float64]:
    """Return the mean weighted by ``d^-power`` of the points at most ``distance`` metres from every cell centre.

    Points exactly on a centre take the cell (their mean, if several). float64 [rows, cols], NaN where none is near.

    Raises
    ------
    InputError
        A distance or power that is not positive.
    """
    if not distance > 0 or not power > 0:
        raise InputError(f"IDW needs a positive distance in metres and power, got {distance} and {power}.")
    reach_x, reach_y = _reach(grid, distance)

    def near(squared: NDArray[np.float64]) -> NDArray[np.bool_]:
        return squared <= distance**2

    def weigh(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = near(squared) & (squared > 0)
        return np.where(inside, np.where(inside, squared, 1.0) ** (-0.5 * power), 0.0)

    def on_centre(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(squared == 0, 1.0, 0.0)

    total, weight, _ = _accumulate(xyz, values, grid, (reach_x, reach_y), weigh, near)
    hit_total, hit_weight, _ = _accumulate(xyz, values, grid, (0, 0), on_centre, near)
    return np.where(hit_weight > 0, divided(hit_total, hit_weight), divided(total, weight))


def _reach(grid: Grid, distance: float) -> tuple[int, int]:
    """Return how many columns and rows away the cell of a point within ``distance`` metres of a centre may lie."""
    inverse = ~grid.transform
    # Largest column and row offset of a circle of that radius; the point lies up to half a cell off its cell's centre.
    cols, rows = (distance * math.hypot(*row) for row in ((inverse.a, inverse.b), (inverse.d, inverse.e)))
    return math.floor(cols + 0.5), math.floor(rows + 0.5)


def _accumulate(
    xyz: NDArray[np.float64],
    values: NDArray[Any],
    grid: Grid,
    reach: tuple[int, int],
    weigh: Weigh,
    counted: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return weighted sum, weight and number of points [rows, cols] over cells within ``reach`` (x, y) of each point.

    Both functions take the squared distance in metres between point and cell centre.
    """
    reach_x, reach_y = reach
    # Twice the reach: points may lie one reach outside the grid, and their cells one more.
    width, height = grid.width + 4 * reach_x, grid.height + 4 * reach_y
    total, weight, number = np.zeros(width * height), np.zeros(width * height), np.zeros(width * height)
    t = grid.transform
    for col, row, value in _around(xyz, values, grid, reach):
        cell_col, cell_row = np.floor(col), np.floor(row)
        cell = ((cell_row + 2 * reach_y) * width + cell_col + 2 * reach_x).astype(np.intp)
        # Metres from the centre of the point's own cell.
        fraction_col, fraction_row = col - cell_col - 0.5, row - cell_row - 0.5
        east, north = t.a * fraction_col + t.b * fraction_row, t.d * fraction_col + t.e * fraction_row
        for down in range(-reach_y, reach_y + 1):
            for right in range(-reach_x, reach_x + 1):
                squared = (east - (t.a * right + t.b * down)) ** 2 + (north - (t.d * right + t.e * down)) ** 2
                w, target = weigh(squared), cell + (down * width + right)
                np.add.at(total, target, w * value)
                np.add.at(weight, target, w)
                np.add.at(number, target, counted(squared).astype(np.float64))
    inner = slice(2 * reach_y, 2 * reach_y + grid.height), slice(2 * reach_x, 2 * reach_x + grid.width)
    summed = [np.ascontiguousarray(a.reshape(height, width)[inner]) for a in (total, weight, number)]
    return summed[0], summed[1], summed[2]


def _around(
    xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid, reach: tuple[int, int]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """Yield chunks (col, row, value) of the points on the grid or within ``reach`` cells of it."""
    for start in range(0, len(xyz), CHUNK):
        col, row = to_pixels(xyz[start : start + CHUNK], grid)
        value = np.asarray(values[start : start + CHUNK], np.float64)
        keep = (col >= -reach[0]) & (col < grid.width + reach[0]) & np.isfinite(value)
        keep &= (row >= -reach[1]) & (row < grid.height + reach[1])
        yield col[keep], row[keep], value[keep]
