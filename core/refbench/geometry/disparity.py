"""Disparities of a rectified pair: OpenCV's semi-global and block matching, and a semi-global matching of census codes.

Left column c corresponds to right column c - d. Disparities below ``LOWEST`` are not searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.contracts.errors import MissingExtraError
from refbench.geometry.census import census_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.geometry.match_options import MatchOptions

    F4 = NDArray[np.float32]

LOWEST = -4
FIXED = 16
"""OpenCV's disparities are multiples of 1/16 px."""
PATHS = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""Directions (row, column) along which census costs are summed."""
BITS = np.array([bin(number).count("1") for number in range(256)], np.uint8)


def disparity(left: NDArray[np.uint8], right: NDArray[np.uint8], search: int, options: MatchOptions) -> F4:
    """Return disparities float32 [rows, cols] in pixels, NaN where the matcher found none.

    Parameters
    ----------
    left, right
        The rectified pair, uint8 [rows, cols].
    search
        Number of disparities from ``LOWEST`` on, a multiple of 16.
    options
        Matcher and its settings.
    """
    # Columns left of the search range would stay empty: give them room.
    wide_left, wide_right = (
        cv2.copyMakeBorder(image, 0, 0, search, 0, cv2.BORDER_REPLICATE) for image in (left, right)
    )
    if options.matcher == "sgm":
        return _semi_global(wide_left, wide_right, search, options)[:, search:]
    if options.matcher == "census":
        return census_disparity(wide_left, wide_right, search, options)[:, search:]
    fixed = _opencv(search, options).compute(wide_left, wide_right)[:, search:]
    return np.where(fixed < LOWEST * FIXED, np.nan, fixed.astype(np.float32) / FIXED)


def _semi_global(left: NDArray[np.uint8], right: NDArray[np.uint8], search: int, options: MatchOptions) -> F4:
    try:
        from refbench.geometry.semi_global import semi_global_disparity
    except ImportError:
        raise MissingExtraError("The matcher sgm needs numba: pip install 'refbench[stereo]' brings it.") from None
    return semi_global_disparity(left, right, LOWEST, search, options)


def _opencv(search: int, options: MatchOptions) -> cv2.StereoMatcher:
    if options.matcher == "bm":
        matcher = cv2.StereoBM.create(search, max(5, options.window | 1))
        matcher.setMinDisparity(LOWEST)
        matcher.setTextureThreshold(0)
        matcher.setUniquenessRatio(options.uniqueness_percent)
        matcher.setSpeckleWindowSize(options.speckle_px)
        matcher.setSpeckleRange(options.speckle_range)
        matcher.setDisp12MaxDiff(options.left_right_px)
        return matcher
    area = options.window**2
    modes = {
        "hh": cv2.StereoSGBM_MODE_HH,
        "five": cv2.StereoSGBM_MODE_SGBM,
        "three": cv2.StereoSGBM_MODE_SGBM_3WAY,
    }
    return cv2.StereoSGBM.create(
        minDisparity=LOWEST,
        numDisparities=search,
        blockSize=options.window,
        P1=options.p1 * area,
        P2=options.p2 * area,
        disp12MaxDiff=options.left_right_px,
        preFilterCap=63,
        uniquenessRatio=options.uniqueness_percent,
        speckleWindowSize=options.speckle_px,
        speckleRange=options.speckle_range,
        mode=modes[options.directions],
    )


def census_disparity(left: NDArray[np.uint8], right: NDArray[np.uint8], search: int, options: MatchOptions) -> F4:
    """Return disparities float32 [rows, cols] by semi-global matching of census codes, NaN where none is found.

    Both directions must agree within ``left_right_px``. Hirschmueller, H.: Stereo processing by semiglobal matching
    and mutual information, TPAMI 30, 328-341 (2008); Zabih and Woodfill, ECCV 1994.
    """
    cost = _census_cost(census_codes(left, options.window), census_codes(right, options.window), search)
    total = np.zeros(cost.shape, np.int16)
    for path in PATHS:
        total += _along(cost, path, options.p1, options.p2)
    best = total.argmin(axis=2)
    # The right image's disparity: its pixel c sees the left pixel c + d with the same cost.
    other = _of_right(total).argmin(axis=2)
    rows, cols = np.indices(best.shape)
    at = cols - (best + LOWEST)
    agrees = (at >= 0) & (at < best.shape[1])
    agrees &= np.abs(other[rows, at.clip(0, best.shape[1] - 1)] - best) <= options.left_right_px
    found = best + LOWEST + _subpixel(total, best, options.subpixel)
    fixed = np.where(agrees, np.round(found * FIXED), (LOWEST - 1) * FIXED).astype(np.int16)
    if options.speckle_px:
        cv2.filterSpeckles(fixed, (LOWEST - 1) * FIXED, options.speckle_px, options.speckle_range * FIXED)
    return np.where(fixed < LOWEST * FIXED, np.nan, fixed.astype(np.float32) / FIXED)


def _bit_count(codes: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Return the number of bits that are set."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(codes), np.int16)
    return np.asarray(BITS[np.ascontiguousarray(codes)[..., None].view(np.uint8)].sum(axis=-1), np.int16)


def _census_cost(left: NDArray[np.uint64], right: NDArray[np.uint64], search: int) -> NDArray[np.int16]:
    """Return Hamming distances int16 [rows, cols, search]; beyond the right image the largest of all."""
    rows, cols = left.shape
    cost = np.full((rows, cols, search), 64, np.int16)
    for index in range(search):
        shift = index + LOWEST
        into, out_of = slice(max(shift, 0), cols + min(shift, 0)), slice(max(-shift, 0), cols - max(shift, 0))
        cost[:, into, index] = _bit_count(left[:, into] ^ right[:, out_of])
    return cost


def _along(cost: NDArray[np.int16], path: tuple[int, int], p1: int, p2: int) -> NDArray[np.int16]:
    """Return the costs int16 [rows, cols, search] summed along one direction."""
    axis = 0 if path[0] else 1
    lines = np.ascontiguousarray(np.moveaxis(cost, axis, 0)[:: path[0] + path[1]])
    out = np.empty_like(lines)
    out[0] = lines[0]
    first, second = np.int16(p1), np.int16(p2)
    for index in range(1, len(lines)):
        before = out[index - 1] - out[index - 1].min(axis=-1, keepdims=True)
        step = np.minimum(before, second)
        np.minimum(step[:, 1:], before[:, :-1] + first, out=step[:, 1:])
        np.minimum(step[:, :-1], before[:, 1:] + first, out=step[:, :-1])
        np.add(lines[index], step, out=out[index])
    return np.moveaxis(out[:: path[0] + path[1]], 0, axis)


def _of_right(total: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the costs as the right image's pixels see them, [rows, cols, search]."""
    cols, search = total.shape[1], total.shape[2]
    out = np.full_like(total, np.iinfo(np.int16).max)
    for index in range(search):
        shift = index + LOWEST
        into, out_of = slice(max(-shift, 0), cols - max(shift, 0)), slice(max(shift, 0), cols + min(shift, 0))
        out[:, into, index] = total[:, out_of, index]
    return out


def _subpixel(total: NDArray[np.int16], best: NDArray[np.int64], how: str) -> F4:
    """Return where between whole disparities the minimum lies, float32 in [-0.5, 0.5]."""
    search = total.shape[2]
    inner = np.clip(best, 1, search - 2)[..., None]
    low, middle, high = (np.take_along_axis(total, inner + step, 2)[..., 0].astype(np.float32) for step in (-1, 0, 1))
    if how == "parabola":
        bend = low + high - 2 * middle
        offset = 0.5 * (low - high) / np.maximum(bend, 1e-6)
    elif how == "angle":
        offset = 0.5 * (low - high) / np.maximum(np.maximum(low, high) - middle, 1e-6)
    else:
        offset = np.zeros_like(middle)
    return np.where(best == inner[..., 0], np.clip(offset, -0.5, 0.5), 0).astype(np.float32)
