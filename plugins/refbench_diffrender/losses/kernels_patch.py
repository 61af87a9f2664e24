"""Similarity of patches in compiled loops (numba): value and gradient; one image a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench_diffrender.rasteriser.compiled import compiled, in_threads

if TYPE_CHECKING:
    from torch import Tensor


def patch_cost(
    found: Tensor,
    wanted: Tensor,
    visible: Tensor,
    size: int,
    light: float,
    contrast: float,
    flat: float,
    with_gradient: bool,
) -> tuple[float, Tensor | None]:
    """Return the mean dissimilarity of patches of ``found`` [B, rows, cols] and its gradient.

    Similarity is SSIM with the constants ``light`` and ``contrast``, or, where ``flat`` is above 0, the correlation
    with ``flat`` added to the variances.
    """
    images = [image.detach().contiguous().numpy() for image in (found, wanted, visible)]
    rows, cols = found.shape[1:]
    half = size // 2
    gradient = np.zeros(images[0].shape, np.float32)
    costs = np.zeros(len(gradient))
    number = np.float32(max(float(visible.sum()), 1.0))
    constants = np.float32(light), np.float32(contrast), np.float32(flat)
    calls = []
    for view in range(len(gradient)):
        lines = np.zeros((6, cols + 2 * half), np.float32)
        maps = np.zeros((3, rows + 2 * half, cols + 2 * half), np.float32)
        views = [image[view] for image in images]
        calls.append((*views, size, *constants, number, lines, maps, gradient[view], costs[view:], with_gradient))
    in_threads(_patch_cost, calls, torch.get_num_threads())
    return float(costs.sum()) / float(number), torch.from_numpy(gradient) if with_gradient else None


@compiled
def _sum_rows(found, wanted, visible, row, half, lines):
    """Fill the weighted moments of every column over the rows of the patches around ``row``."""
    lines[:] = 0
    rows, cols = found.shape
    for r in range(max(row - half, 0), min(row + half + 1, rows)):
        for c in range(cols):
            weight, x, y = visible[r, c], found[r, c], wanted[r, c]
            lines[0, half + c] += weight
            lines[1, half + c] += weight * x
            lines[2, half + c] += weight * y
            lines[3, half + c] += weight * x * x
            lines[4, half + c] += weight * y * y
            lines[5, half + c] += weight * x * y


@compiled
def _sum_cols(lines, cols, size, sums):
    sums[:] = 0
    for n in range(lines.shape[0]):
        for tap in range(size):
            for c in range(cols):
                sums[n, c] += lines[n, c + tap]


@compiled
def _similarity(sums, c, light, contrast, flat):
    """Return similarity, summed weight, both means and the slopes by the first patch's mean, variance, covariance."""
    total = max(sums[0, c], np.float32(1.0))
    one, two = sums[1, c] / total, sums[2, c] / total
    # E[x^2] - E[x]^2 may fall below 0 by rounding: it is clamped and then has no gradient.
    variance, other = sums[3, c] / total - one * one, max(sums[4, c] / total - two * two, np.float32(0.0))
    moves = np.float32(1.0) if variance > 0 else np.float32(0.0)
    variance = max(variance, np.float32(0.0))
    together = sums[5, c] / total - one * two
    if flat > 0:
        # Correlation: covariance over the root of both variances, kept from 0 by ``flat``.
        root = np.float32(1.0) / np.sqrt((variance + flat) * (other + flat))
        found = together * root
        return found, total, one, two, np.float32(0.0), moves * np.float32(-0.5) * found / (variance + flat), root
    # SSIM: brightness (2 m1 m2 + c1) / (m1^2 + m2^2 + c1) times structure (2 s12 + c2) / (s1^2 + s2^2 + c2).
    middle = one * one + two * two + light
    brightness = (np.float32(2.0) * one * two + light) / middle
    spread = variance + other + contrast
    structure = (np.float32(2.0) * together + contrast) / spread
    by_mean = structure * np.float32(2.0) * (two - brightness * one) / middle
    by_variance = -moves * brightness * structure / spread
    return brightness * structure, total, one, two, by_mean, by_variance, np.float32(2.0) * brightness / spread


@compiled
def _patch_cost(
    found, wanted, visible, size, light, contrast, flat, number, lines, maps, gradient, cost, with_gradient
):
    """Add the summed dissimilarity of an image to ``cost``; fill the gradient of the mean over ``number`` pixels."""
    rows, cols = found.shape
    half = size // 2
    sums = np.zeros((6, cols), np.float32)
    for r in range(rows):
        _sum_rows(found, wanted, visible, r, half, lines)
        _sum_cols(lines, cols, size, sums)
        for c in range(cols):
            similarity, total, one, two, by_mean, by_variance, by_both = _similarity(sums, c, light, contrast, flat)
            cost[0] += visible[r, c] * (np.float32(1.0) - similarity) / 2
            # A pixel's gradient is a sum over the patches that hold it: constant, by x and by y, each summed below.
            fraction = np.float32(-0.5) * visible[r, c] / (number * total)
            maps[0, half + r, half + c] = fraction * (by_mean - np.float32(2.0) * one * by_variance - two * by_both)
            maps[1, half + r, half + c] = fraction * by_variance
            maps[2, half + r, half + c] = fraction * by_both
    if with_gradient:
        for r in range(rows):
            lines[:] = 0
            for n in range(3):
                for tap in range(size):
                    for c in range(cols + 2 * half):
                        lines[n, c] += maps[n, r + tap, c]
            _sum_cols(lines, cols, size, sums)
            for c in range(cols):
                both = np.float32(2.0) * found[r, c] * sums[1, c] + wanted[r, c] * sums[2, c]
                gradient[r, c] = visible[r, c] * (sums[0, c] + both)
