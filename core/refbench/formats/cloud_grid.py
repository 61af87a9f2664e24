"""The grid over a point cloud, its size checked before anything of it is allocated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.formats.limits import max_pixels

if TYPE_CHECKING:
    from refbench.contracts.source import PointSource


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
