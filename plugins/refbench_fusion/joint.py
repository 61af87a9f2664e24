"""Joining heights of several methods by their standard deviations, where they agree with the most trusted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench_fusion.config import LEAST_SIGMA_M

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    F4 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """``heights`` and ``sigma`` float32 [rows, cols] in metres, NaN where no member knows a height; ``count`` uint8
    [rows, cols] is how many members each height is of, ``anchor`` uint8 the number of the first of them, from 1.
    """

    heights: F4
    sigma: F4
    count: NDArray[np.uint8]
    anchor: NDArray[np.uint8]


def joined(heights: Sequence[F4], sigmas: Sequence[F4], agree_m: float) -> Joint:
    """Return one DSM of several.

    Parameters
    ----------
    heights
        Of each member, in order of trust, float32 [rows, cols] in metres, NaN where unknown.
    sigmas
        Standard deviations of the same shapes, metres.
    agree_m
        A member counts where it lies within so many metres of the anchor: the first member that knows the height.

    The height is the mean weighted by 1 / sigma^2. The members correct one and the same DSM, so their errors are not
    independent: the variance is that of their mixture, not 1 / sum of weights.
    """
    shape = heights[0].shape
    anchor_height = np.full(shape, np.nan, np.float64)
    anchor = np.zeros(shape, np.uint8)
    for number, values in enumerate(heights, 1):
        new = (anchor == 0) & np.isfinite(values)
        anchor[new], anchor_height[new] = number, values[new]
    total, first, second = (np.zeros(shape, np.float64) for _ in range(3))
    count = np.zeros(shape, np.uint8)
    for values, sigma in zip(heights, sigmas, strict=True):
        # Distances from the anchor are small numbers, so that squares keep their digits.
        away = values - anchor_height
        agrees = np.abs(away) <= agree_m
        variance = np.maximum(sigma.astype(np.float64), LEAST_SIGMA_M) ** 2
        weight = np.where(agrees, 1 / variance, 0.0)
        away = np.where(agrees, away, 0.0)
        total += weight
        first += weight * away
        second += weight * (away**2 + np.where(agrees, variance, 0.0))
        count += agrees
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / total
        spread = second / total - mean**2
    return Joint(
        (anchor_height + mean).astype(np.float32), np.sqrt(np.maximum(spread, 0)).astype(np.float32), count, anchor
    )
