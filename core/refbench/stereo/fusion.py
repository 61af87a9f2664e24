"""Several DSMs of one grid become one: a low quantile of each cell's heights, and the mean of those near it.

What stereo gets wrong beside walls and in trees mostly lies too high, so the middle of the heights is not the best
guess: a lower quantile is. Heights far from it take no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F4 = NDArray[np.float32]

QUANTILE = 0.35
TRIM_M = 0.75
LONELY_PAIRS = 4
"""From so many pairs on, a cell that only one of them saw counts as unknown."""


SPECKLE_M2 = 15.0
SPECKLE_STEP_M = 1.0
"""Patches smaller than this, parted from their surroundings by such a step or by holes, are wrong matches."""
FIXED = 16


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """``heights`` and ``deviation`` (standard deviation of the heights that count, NaN of one) float32 metres, and
    ``count`` uint8 of these heights, [rows, cols] each.
    """

    heights: F4
    deviation: F4
    count: NDArray[np.uint8]


def fuse_heights(stack: F4, quantile: float = QUANTILE, trim: float = TRIM_M) -> Fused:
    """Return one surface of several.

    Parameters
    ----------
    stack
        Heights float32 [pairs, rows, cols], NaN where unknown.
    quantile
        Of each cell's heights, around which others count.
    trim
        How far from it they may lie, metres.
    """
    ordered = np.sort(stack.astype(np.float64), axis=0)  # NaN comes last
    known = np.isfinite(ordered).sum(axis=0)
    # The quantile by linear interpolation between the known heights of the cell.
    place = quantile * np.maximum(known - 1, 0)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    low, high = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (below, above))
    centre = low + (place - below) * (high - low)
    with np.errstate(invalid="ignore"):
        near = np.abs(ordered - centre) <= trim
    # Two heights that are far apart leave none near the quantile between them: then the lower one counts.
    near |= (near.sum(axis=0) == 0) & (np.arange(len(ordered))[:, None, None] == 0) & (known > 0)
    count = near.sum(axis=0)
    if len(stack) >= LONELY_PAIRS:
        count = np.where(count >= 2, count, 0)
    some = np.maximum(count, 1)
    mean = np.where(near, ordered, 0).sum(axis=0) / some
    spread = np.sqrt((np.where(near, ordered - mean, 0) ** 2).sum(axis=0) / np.maximum(count - 1, 1))
    return Fused(
        np.where(count > 0, mean, np.nan).astype(np.float32),
        np.where(count > 1, spread, np.nan).astype(np.float32),
        count.astype(np.uint8),
    )


def without_speckles(heights: F4, gsd: float) -> F4:
    """Return heights float32 [rows, cols] with NaN in patches below ``SPECKLE_M2``; ``gsd`` in metres."""
    known = np.isfinite(heights)
    if not known.any():
        return heights
    # OpenCV looks at 16-bit integers: sixteenths of a metre around the median.
    void = -(2**15)
    fixed = np.round((np.where(known, heights, 0) - np.median(heights[known])) * FIXED).clip(void + 1, -void - 1)
    patches = np.where(known, fixed, void).astype(np.int16)
    cv2.filterSpeckles(patches, void, round(SPECKLE_M2 / gsd**2), round(SPECKLE_STEP_M * FIXED))
    return np.where(patches == void, np.float32(np.nan), heights)
