"""Options of the matchers of rectified pairs. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """Options of the matchers, named as in OpenCV's ``StereoSGBM``; ``window`` is its block size.

    ``matcher`` ``sgbm``: OpenCV's semi-global matching by ``directions``; ``bm``: its block matching, which melts
    steps into their surroundings; ``census``: semi-global matching of census codes, which does not care for gain,
    with ``p1`` and ``p2`` in bits. ``subpixel`` of census: a parabola, equal angles, or whole disparities. ``sgm``: the
    same along eight paths, both directions matched, ``p2`` halved where the grey steps by ``edge_fall``; needs numba.
    """

    window: int = 5
    p1: int = 8
    p2: int = 96
    """Penalties of disparity steps of one and of more; OpenCV's are multiplied by the squared window."""
    uniqueness_percent: int = 8
    speckle_px: int = 60
    speckle_range: int = 2
    left_right_px: int = 1
    matcher: Literal["sgbm", "bm", "census", "sgm"] = "sgbm"
    directions: Literal["hh", "five", "three"] = "hh"
    subpixel: Literal["parabola", "angle", "none"] = "parabola"
    edge_fall: float = 12.0
