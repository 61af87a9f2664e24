"""Filters on heights float32 [rows, cols] in metres, NaN where unknown.

In all of them NaN stays NaN, and neither NaN nor what lies outside the array has any weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1 << 16
_OPENCV_SIZES = (3, 5)
"""Windows whose median of float32 OpenCV selects; the rim, where it and scipy differ, is taken the slow way."""


def median(heights: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return the median of the known heights in a window of ``size`` x ``size`` pixels; of two, their mean.

    Heights are float32 [rows, cols], metres.
    """
    valid = np.isfinite(heights)
    reach = size // 2
    known = np.where(valid, heights, np.float32(0))
    if size in _OPENCV_SIZES:
        out = cv2.medianBlur(known, size)
    else:
        out = ndimage.median_filter(known, size=size, mode="nearest")
    padded = np.pad(heights, reach, constant_values=np.nan)
    # Only windows that hold an unknown pixel need the slow way.
    unknown = np.pad(~valid, reach, constant_values=True).astype(np.uint8)
    disturbed = cv2.dilate(unknown, np.ones((size, size), np.uint8))[reach : -reach or None, reach : -reach or None]
    rows, cols = np.nonzero(valid & (disturbed > 0))
    windows = sliding_window_view(padded, (size, size))
    for start in range(0, rows.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[rows[part], cols[part]] = _median_of_known(windows[rows[part], cols[part]].reshape(-1, size * size))
    out[~valid] = np.nan
    found: NDArray[np.float32] = out
    return found


def _median_of_known(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of the finite values of each row of [N, K]; every row has one at least."""
    # Sorting puts NaN last, so that the known values of a row are its first ones.
    ordered = np.sort(values, axis=1)
    count = np.isfinite(values).sum(axis=1)
    each = np.arange(len(values))
    lower, upper = ordered[each, (count - 1) // 2], ordered[each, count // 2]
    found: NDArray[np.float32] = (lower + upper) * np.float32(0.5)
    return found


def bilateral(heights: NDArray[np.float32], radius: int, sigma_px: float, sigma_m: float) -> NDArray[np.float32]:
    """Return the mean over a disc, weighted by Gaussians of the distance (pixels) and the height step (metres).

    Written as sums over pairs of pixels: OpenCV's filter knows no NaN, and its table of weights depends on the
    range of the whole array, so that tiles would differ.
    Heights are float32 [rows, cols], metres.
    """
    valid = np.isfinite(heights)
    known = np.where(valid, heights, np.float32(0))
    shift, total = np.zeros_like(known), np.ones_like(known)
    rows, cols = known.shape
    for down in range(min(radius, rows - 1) + 1):
        for right in range(-min(radius, cols - 1), min(radius, cols - 1) + 1):
            # Every pair once: the half disc below and right of the centre.
            if (down == 0 and right <= 0) or down * down + right * right > radius * radius:
                continue
            here = np.s_[: rows - down, max(0, -right) : cols - max(0, right)]
            there = np.s_[down:, max(0, right) : cols - max(0, -right)]
            step = known[there] - known[here]
            weight = np.exp(step * step * np.float32(-0.5 / sigma_m**2))
            weight *= np.float32(np.exp(-0.5 * (down * down + right * right) / sigma_px**2))
            weight *= valid[here] & valid[there]
            step *= weight
            shift[here] += step
            shift[there] -= step
            total[here] += weight
            total[there] += weight
    return np.where(valid, known + shift / total, np.float32(np.nan))


def guided(heights: NDArray[np.float32], radius: int, sigma_m: float) -> NDArray[np.float32]:
    """Return the guided filter with the heights as guide, over windows of ``2 radius + 1`` pixels.

    Each window holds a linear model of its heights whose slope is var / (var + sigma²); a pixel takes the mean of
    the models of all windows that it lies in and that hold a known pixel at their centre.
    Heights are float32 [rows, cols], metres.
    """
    valid = np.isfinite(heights)
    weight = valid.astype(np.float64)
    # About the mean height: the variance is a difference of squares.
    level = float(heights[valid].mean(dtype=np.float64)) if valid.any() else 0.0
    known = np.where(valid, heights.astype(np.float64) - level, 0.0)

    def box(values: NDArray[np.float64]) -> NDArray[np.float64]:
        size = (2 * radius + 1, 2 * radius + 1)
        found: NDArray[np.float64] = cv2.boxFilter(
            values, cv2.CV_64F, size, normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        return found

    count = np.maximum(box(weight), 1.0)
    mean = box(known) / count
    variance = np.maximum(box(known * known) / count - mean * mean, 0.0)
    slope = variance / (variance + sigma_m**2)
    offset = mean * (1.0 - slope)
    out = (box(slope * weight) * known + box(offset * weight)) / count + level
    return np.where(valid, out, np.nan).astype(np.float32)


def tv_l1(heights: NDArray[np.float32], fidelity: float, iterations: int) -> NDArray[np.float32]:
    """Return the heights after ``iterations`` primal-dual steps on |grad u| + fidelity |u - heights|.

    Steps across an unknown pixel or the edge of the array do not count. tau = 1 and sigma = 1/8: their product is the
    largest that converges.
    Heights are float32 [rows, cols], metres.
    """
    valid = np.isfinite(heights)
    data = np.where(valid, heights, np.float32(0))
    primal = _tv_l1_steps(data, valid, iterations, np.float32(fidelity))
    return np.where(valid, primal, np.float32(np.nan))


def _tv_l1_steps(
    data: NDArray[np.float32], valid: NDArray[np.bool_], iterations: int, limit: np.float32
) -> NDArray[np.float32]:
    """Return the primal variable, by compiled loops where numba is installed; the same numbers either way."""
    try:
        from refbench_baselines.kernels import tv_l1_steps
    except ImportError:
        return plain_tv_l1_steps(data, valid, iterations, limit)
    return tv_l1_steps(data, valid, iterations, limit)


def plain_tv_l1_steps(
    data: NDArray[np.float32], valid: NDArray[np.bool_], iterations: int, limit: np.float32
) -> NDArray[np.float32]:
    """Return what ``kernels.tv_l1_steps`` returns, by whole arrays.

    ``data`` is float32 [rows, cols], metres; ``valid`` bool [rows, cols].
    """
    sigma = np.float32(0.125)
    both_x = np.zeros_like(data)
    both_y = np.zeros_like(data)
    both_x[:, :-1] = valid[:, :-1] & valid[:, 1:]
    both_y[:-1] = valid[:-1] & valid[1:]
    dual_x, dual_y = np.zeros_like(data), np.zeros_like(data)
    primal, leading = data.copy(), data.copy()
    for _ in range(iterations):
        # Dual ascent on forward differences, then projection onto the unit disc.
        dual_x[:, :-1] += sigma * (leading[:, 1:] - leading[:, :-1]) * both_x[:, :-1]
        dual_y[:-1] += sigma * (leading[1:] - leading[:-1]) * both_y[:-1]
        length = np.maximum(np.sqrt(dual_x * dual_x + dual_y * dual_y), np.float32(1))
        dual_x /= length
        dual_y /= length
        # Primal descent along the dual's divergence, then shrinkage towards the data.
        new = primal + (dual_x + dual_y)
        new[:, 1:] -= dual_x[:, :-1]
        new[1:] -= dual_y[:-1]
        new += np.clip(data - new, -limit, limit)
        leading = 2 * new - primal
        primal = new
    return primal
