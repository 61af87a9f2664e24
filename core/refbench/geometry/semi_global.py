"""Semi-global matching of census codes along eight paths, matched in both directions; needs numba.

Hirschmueller, H.: Stereo processing by semiglobal matching and mutual information, TPAMI 30, 328-341 (2008);
Zabih and Woodfill: Non-parametric local transforms for computing visual correspondence, ECCV 1994.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.geometry.census import census_codes
from refbench.geometry.sgm_kernels import add_paths, hamming_costs, path_penalties, winners

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.geometry.match_options import MatchOptions

    F4 = NDArray[np.float32]

FIXED = 16
"""Speckles are found in disparities rounded to 1/16 px."""


def semi_global_disparity(
    left: NDArray[np.uint8], right: NDArray[np.uint8], lowest: int, search: int, options: MatchOptions
) -> F4:
    """Return disparities float32 [rows, cols] in pixels, NaN where the two directions disagree.

    Left column c corresponds to right column c - d; ``search`` disparities are tried from ``lowest`` on.
    """
    forth = _one_way(left, right, lowest, search, options)
    # Mirrored, the right image's disparities are searched in the same direction.
    back = _one_way(right[:, ::-1], left[:, ::-1], lowest, search, options)[:, ::-1]
    rows, cols = np.indices(forth.shape)
    at = np.round(cols - forth).astype(np.int64)
    inside = (at >= 0) & (at < forth.shape[1])
    agrees = inside & (np.abs(back[rows, at.clip(0, forth.shape[1] - 1)] - forth) <= options.left_right_px)
    if options.speckle_px:
        void = (lowest - 1) * FIXED
        fixed = np.where(agrees, np.round(forth * FIXED), void).astype(np.int16)
        cv2.filterSpeckles(fixed, void, options.speckle_px, options.speckle_range * FIXED)
        agrees &= fixed != void
    return np.where(agrees, forth, np.float32(np.nan))


def _one_way(left: NDArray[np.uint8], right: NDArray[np.uint8], lowest: int, search: int, options: MatchOptions) -> F4:
    """Return the disparities float32 [rows, cols] of the left image, without any check."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    cost = np.empty((*left.shape, search), np.uint8)
    hamming_costs(census_codes(left, options.window), census_codes(right, options.window), lowest, cost)
    total = np.zeros(cost.shape, np.uint16)
    penalties = path_penalties(options.p1, options.p2, options.edge_fall)
    for backward in (False, True):
        add_paths(cost, left, float(options.p1), penalties, total, backward)
    found = np.empty(left.shape, np.float32)
    winners(total, found)
    return found + np.float32(lowest)
