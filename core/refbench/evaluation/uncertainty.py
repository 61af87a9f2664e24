"""Uncertainty by block bootstrap: neighbouring pixels are not independent, so blocks are drawn, not pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.method import derived_rng
from refbench.evaluation.statistics import NMAD_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

BLOCK_PX = 64
REPEATS = 400
LEVEL = 0.95
MEDIAN_BINS = 4096
BOOTSTRAPPED = ("bias", "mae", "rmse", "median", "medae", "nmad")


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval ``[low, high]`` at ``LEVEL``, from ``blocks`` blocks."""

    low: float
    high: float
    blocks: int


def block_ids(shape: tuple[int, int], block_px: int = BLOCK_PX) -> NDArray[np.int64]:
    """Return the number of the square block of every pixel, int64 [rows, cols]."""
    rows, cols = np.arange(shape[0]) // block_px, np.arange(shape[1]) // block_px
    return rows[:, None] * (int(cols[-1]) + 1) + cols[None, :]


@dataclass(frozen=True, slots=True, eq=False)
class BlockDraws:
    """Draws of blocks with replacement over a domain; the same for whatever is measured there.

    ``inside`` are the flat indices of the domain's pixels [N], ``index`` the block of each [N], ``weights`` how often
    every draw took every block, float64 [repeats, blocks].
    """

    inside: NDArray[np.intp]
    index: NDArray[np.intp]
    weights: Floats

    @property
    def blocks(self) -> int:
        """Number of blocks that hold pixels of the domain."""
        return int(self.weights.shape[1])

    @classmethod
    def over(
        cls, domain: Bools, *, block_px: int = BLOCK_PX, repeats: int = REPEATS, seed: int = 0
    ) -> BlockDraws | None:
        """Return the draws over ``domain`` [rows, cols]; None where fewer than two blocks hold pixels."""
        inside = np.flatnonzero(domain)
        names = block_ids((domain.shape[0], domain.shape[1]), block_px).ravel()[inside]
        held = np.bincount(names) > 0  # numbers the blocks without sorting pixels
        count = int(np.count_nonzero(held))
        if count < 2:
            return None
        index = (np.cumsum(held) - 1)[names]
        drawn = derived_rng(seed, "block bootstrap", block_px).integers(0, count, (repeats, count))
        weights = np.zeros((repeats, count))
        np.add.at(weights, (np.arange(repeats)[:, None], drawn), 1.0)
        return cls(inside, index, weights)

    def sums(self, values: Floats | None = None) -> Floats:
        """Return the sum of ``values`` [N], or the count of pixels, of every draw, float64 [repeats]."""
        per_block = np.bincount(self.index, None if values is None else values, self.blocks)
        return np.asarray(self.weights @ per_block, np.float64)

    def interval(self, samples: Floats) -> Interval:
        """Return the interval at ``LEVEL`` of samples [repeats]."""
        return interval(samples, self.blocks)


def interval(samples: Floats, blocks: int) -> Interval:
    """Return the interval at ``LEVEL`` of bootstrap samples [repeats] that come from ``blocks`` blocks."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, (tail, 100 - tail))
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

    Means are exact. Medians come from histograms of the residuals with ``MEDIAN_BINS`` bins between their extremes
    after compression by asinh, interpolated inside a bin: far finer than the intervals are wide. NMAD of a draw is
    taken about the median of all, which varies little against the spread itself.
    """
    e = residuals.ravel()[draws.inside].astype(np.float64)
    count = draws.sums()
    of: dict[str, Callable[[], Floats]] = {
        "bias": lambda: draws.sums(e) / count,
        "mae": lambda: draws.sums(np.abs(e)) / count,
        "rmse": lambda: np.sqrt(draws.sums(e * e) / count),
        "median": lambda: _medians(e, draws.index, draws.weights),
        "medae": lambda: _medians(np.abs(e), draws.index, draws.weights),
        "nmad": lambda: NMAD_FACTOR * _medians(np.abs(e - np.median(e)), draws.index, draws.weights),
    }
    return {name: of[name]() for name in metrics}


def block_bootstrap(
    residuals: Floats, domain: Bools, *, block_px: int = BLOCK_PX, repeats: int = REPEATS, seed: int = 0
) -> dict[str, Interval | None]:
    """Return an interval per metric of ``BOOTSTRAPPED``, None where fewer than two blocks hold pixels.

    Parameters
    ----------
    residuals
        e in metres, float64 [rows, cols]; only the pixels of ``domain`` are looked at.
    domain
        Which pixels count, bool [rows, cols].
    block_px
        Side of the blocks: at least the correlation length of the errors.
    repeats
        Number of draws with replacement.
    seed
        The same seed gives the same blocks for every method, so that differences can be paired.
    """
    draws = BlockDraws.over(domain, block_px=block_px, repeats=repeats, seed=seed)
    if draws is None:
        return dict.fromkeys(BOOTSTRAPPED)
    return {name: draws.interval(samples) for name, samples in bootstrap_samples(residuals, draws).items()}


def paired_difference(
    first: Floats, second: Floats, domain: Bools, *, block_px: int = BLOCK_PX, repeats: int = REPEATS, seed: int = 0
) -> Interval | None:
    """Return the interval of MAE(second) - MAE(first) on the same pixels and the same draws of blocks, metres."""
    draws = BlockDraws.over(domain, block_px=block_px, repeats=repeats, seed=seed)
    if draws is None:
        return None
    gain = np.abs(second.ravel()[draws.inside]) - np.abs(first.ravel()[draws.inside])
    return draws.interval(draws.sums(gain) / draws.sums())


def _medians(values: Floats, index: NDArray[np.int64], weights: Floats) -> Floats:
    """Return the median of every weighted draw from per-block histograms, float64 [repeats]."""
    squeezed = np.arcsinh(values)
    low, high = float(squeezed.min()), float(squeezed.max())
    if low == high:
        return np.full(weights.shape[0], float(values[0]))
    position = np.minimum(((squeezed - low) * (MEDIAN_BINS / (high - low))).astype(np.int64), MEDIAN_BINS - 1)
    blocks = weights.shape[1]
    histogram = np.bincount(index * MEDIAN_BINS + position, minlength=blocks * MEDIAN_BINS)
    # Counts are whole, so summing up per block before the draws are weighted is exact, and far less work than after.
    cumulative = weights @ np.cumsum(histogram.reshape(blocks, MEDIAN_BINS), axis=1).astype(np.float64)
    half = cumulative[:, -1:] / 2
    bins = np.argmax(cumulative >= half, axis=1)
    draws = np.arange(weights.shape[0])
    below = np.where(bins > 0, cumulative[draws, bins - 1], 0.0)
    share = (half[:, 0] - below) / (cumulative[draws, bins] - below)
    return np.asarray(np.sinh(low + (bins + share) * (high - low) / MEDIAN_BINS), np.float64)
