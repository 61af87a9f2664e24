"""The grid over a point cloud, its size checked before anything of it is allocated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, UnsupportedError
from refbench.contracts.grid import Grid
from refbench.formats.limits import max_pixels

if TYPE_CHECKING:
    from refbench.contracts.source import PointSource


ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Pixel sizes that are chosen are these times a power of ten, metres."""


def spacing(points: PointSource) -> float:
    """Return the side in metres of cells that hold a point each on average, rounded up to a plain number.

    Raises
    ------
    UnsupportedError
        The points span no area.
    """
    bounds, count = points.bounds(), points.count()
    sides = bounds.east - bounds.west, bounds.north - bounds.south
    area = sides[0] * sides[1]
    # Bounds hold their outermost points, so that a line of points is a hair wide.
    if not (count and math.isfinite(area) and min(sides) > 1e-6):
        name = f"The cloud {points.files[0]}" if points.files else "The cloud"
        raise UnsupportedError(f"{name} spans no area, so no pixel size follows from it; give one with --gsd.")
    side = math.sqrt(area / count)
    power = 10.0 ** math.floor(math.log10(side))
    # A hair of tolerance: 0.5 m must not become 1 m for the last digit of a bound.
    return next(round(power * step, 9) for step in ROUND if power * step >= side * (1 - 1e-6))


def grid_over(points: PointSource, gsd: float | None) -> Grid:
    """Return the north-up grid of ``gsd`` metres over all points, its corners multiples of ``gsd``.

    Raises
    ------
    InputError
        ``gsd`` is no positive number, or the grid would have more pixels than ``max_pixels``.
    """
    if gsd is None or not (math.isfinite(gsd) and gsd > 0):
        raise InputError(f"gsd must be a positive number of metres, got {gsd}.")
    bounds = points.bounds()
    width, height = bounds.east - bounds.west, bounds.north - bounds.south
    limit = max_pixels()
    # In floats: a corrupt coordinate over a small pixel can be more than an integer of 64 bits holds.
    if not (width / gsd + 1) * (height / gsd + 1) <= limit:
        name = points.files[0] if points.files else "the points"
        raise InputError(
            f"A grid of {gsd:g} m over {name} would have {width / gsd:.4g} x {height / gsd:.4g} px, more than "
            f"the limit of {limit:,}: its points span {width:.6g} x {height:.6g} m; crop the cloud, take a larger "
            "gsd, or allow more with --max-pixels."
        )
    return Grid.snap(bounds, gsd, points.crs, points.vertical)
