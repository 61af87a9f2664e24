"""Which heights to search: a coarse pass over everything that the RPCs allow, then a finer one, so no DEM is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import UnsupportedError
from refbench.stereo.pair_points import pair_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.bridges.pair_choice import RankedPair
    from refbench.contracts.grid import Bounds
    from refbench.geometry.match_options import MatchOptions

    Floats = NDArray[np.float64]

COARSEST, COARSE_PX = 8.0, 128
"""The first pass is so many times coarser than the images, unless the rectangle would have fewer pixels a side."""
COARSER, TOO_COARSE = 1.5, 32.0
"""By how much the first pass is made coarser where it must be, and where that ends."""
MIDDLE = 3 / 8
"""Of the first pass's pixel, that of the second."""
LEAST_POINTS = 100
OUTLIERS = 0.002
"""Fraction of the points at either end that is taken for wrong matches."""
ROOM_M = 6.0
AROUND_M = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class CoarseHeights:
    """The points of the finer pass, float64 [N, 3]."""

    xyz: Floats

    def over(self, bounds: Bounds) -> tuple[float, float]:
        """Return lowest and highest height to search over a rectangle, metres; those of everything where it is void."""
        room = bounds.padded(AROUND_M)
        x, y, z = self.xyz.T
        inside = (x >= room.west) & (x < room.east) & (y >= room.south) & (y < room.north)
        return height_limits(z[inside] if inside.sum() >= LEAST_POINTS else z)

    @property
    def middle(self) -> float:
        """The median height, metres."""
        return float(np.median(self.xyz[:, 2]))


def height_limits(heights: Floats) -> tuple[float, float]:
    """Return quantiles of heights with room below and above, metres."""
    low, high = np.quantile(heights, (OUTLIERS, 1 - OUTLIERS))
    room = max(ROOM_M, 0.1 * float(high - low))
    return float(low) - room, float(high) + room


def coarse_heights(pair: RankedPair, bounds: Bounds, pixel: float, options: MatchOptions) -> CoarseHeights:
    """Match one pair coarsely over all heights that both cameras were made for, then finer over those found.

    Parameters
    ----------
    pair, bounds
        The pair, and the rectangle to match.
    pixel
        Footprint of the images' pixels, metres.
    options
        Options of the matcher.

    Raises
    ------
    UnsupportedError
        A camera tells no range of heights, or too little of the pair could be matched.
    """
    ranges = [view.camera.height_range for view in (pair.first, pair.second)]
    known = [limits for limits in ranges if limits is not None]
    if len(known) < len(ranges):
        raise UnsupportedError(f"The cameras of {pair.first.name} and {pair.second.name} tell no range of heights.")
    heights = max(low for low, _ in known), min(high for _, high in known)
    extent = max(bounds.east - bounds.west, bounds.north - bounds.south)
    coarse = min(COARSEST, max(1.0, extent / pixel / COARSE_PX))
    xyz, coarse = _first_pass(pair, bounds, pixel, heights, coarse, options)
    heights = height_limits(_enough(pair, xyz))
    xyz = pair_points(pair, bounds, heights, gsd=max(1.0, coarse * MIDDLE) * pixel, options=options)
    _enough(pair, xyz)
    return CoarseHeights(xyz)


def _first_pass(
    pair: RankedPair,
    bounds: Bounds,
    pixel: float,
    heights: tuple[float, float],
    coarse: float,
    options: MatchOptions,
) -> tuple[Floats, float]:
    """Return the points over all heights, and how many times coarser than the images the pass was.

    Over hundreds of metres of height points leave their epipolar row by so many metres, which is a smaller part of a
    coarser pixel: where the matcher refuses the pair for that, the pass is made coarser.
    """
    while True:
        try:
            return pair_points(pair, bounds, heights, gsd=coarse * pixel, options=options), coarse
        except UnsupportedError:
            if coarse >= TOO_COARSE:
                raise
            coarse = min(TOO_COARSE, coarse * COARSER)


def _enough(pair: RankedPair, xyz: Floats) -> Floats:
    """Return the heights [N] of the points; ``UnsupportedError`` where there are too few."""
    if len(xyz) < LEAST_POINTS:
        raise UnsupportedError(
            f"Views {pair.first.name} and {pair.second.name} could be matched at {len(xyz)} points only; "
            "check that they show the same place and that their RPCs belong to them."
        )
    return xyz[:, 2]
