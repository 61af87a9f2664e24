"""Uncertainty by block bootstrap: intervals of metrics and of their paired differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.block_draws import BlockDraws, ResidualSample
from refbench.evaluation.metrics import RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

LEVEL = 0.95
BOOTSTRAPPED = tuple(metric.key for metric in RESIDUAL if metric.intervals != "none")
"""Metrics of residuals that have intervals on all pixels."""
EVERYWHERE = tuple(metric.key for metric in RESIDUAL if metric.intervals == "every")
"""Metrics of residuals that have intervals on every stratum."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval ``[low, high]`` at ``LEVEL``, from ``blocks`` blocks."""

    low: float
    high: float
    blocks: int


def interval(samples: Floats, blocks: int) -> Interval:
    """Return the interval at ``LEVEL`` of bootstrap samples [repeats] that come from ``blocks`` blocks.

    NaN samples, of draws in which the metric is not defined, do not count.
    """
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples[~np.isnan(samples)], (tail, 100 - tail))
    return Interval(float(low), float(high), blocks)


def bootstrap_samples(
    residuals: Floats, draws: BlockDraws, metrics: Collection[str] = BOOTSTRAPPED
) -> dict[str, Floats]:
    """Return metric -> its value in every draw, float64 [repeats].

    Parameters
    ----------
    residuals
        e in metres, float64 [rows, cols]; only the pixels of the draws' domain are looked at.
    draws
        From ``BlockDraws.over``; two methods on the same draws can be compared draw by draw.
    metrics
        Of ``BOOTSTRAPPED``.
    """
    sample = ResidualSample(residuals, draws)
    return {
        metric.key: metric.resample(sample)
        for metric in RESIDUAL
        if metric.key in metrics and metric.resample is not None
    }


def intervals(residuals: Floats, draws: BlockDraws | None) -> dict[str, Interval | None]:
    """Return an interval per metric of ``BOOTSTRAPPED`` on given draws; None without draws."""
    if draws is None:
        return dict.fromkeys(BOOTSTRAPPED)
    return {name: interval(samples, draws.blocks) for name, samples in bootstrap_samples(residuals, draws).items()}


def paired_difference(first: Floats, second: Floats, draws: BlockDraws | None) -> Interval | None:
    """Return the interval of MAE(second) - MAE(first), metres, of residuals [rows, cols] on the same draws."""
    if draws is None:
        return None
    gain = np.abs(second.ravel()[draws.inside]) - np.abs(first.ravel()[draws.inside])
    return interval(draws.sums(gain) / draws.sums(), draws.blocks)
