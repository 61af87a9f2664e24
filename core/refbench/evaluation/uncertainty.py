"""Uncertainty by block bootstrap: neighbouring pixels are not independent, so blocks are drawn, not pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.method import derived_rng

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    Means are exact. Medians come from histograms of the residuals with ``MEDIAN_BINS`` bins between their extremes
    after compression by asinh, interpolated inside a bin: far finer than the intervals are wide.
    """
    inside = np.flatnonzero(domain)
    names = block_ids((domain.shape[0], domain.shape[1]), block_px).ravel()[inside]
    blocks, index = np.unique(names, return_inverse=True)
    if blocks.size < 2:
        return dict.fromkeys(BOOTSTRAPPED)
    e = residuals.ravel()[inside].astype(np.float64)
    drawn = derived_rng(seed, "block bootstrap", block_px).integers(0, blocks.size, (repeats, blocks.size))
    weights = np.zeros((repeats, blocks.size))
    np.add.at(weights, (np.arange(repeats)[:, None], drawn), 1.0)
    counts = weights @ np.bincount(index, minlength=blocks.size)
    sums = {name: weights @ np.bincount(index, value, blocks.size) for name, value in _moments(e).items()}
    samples = {"bias": sums["e"] / counts, "mae": sums["a"] / counts, "rmse": np.sqrt(sums["e2"] / counts)}
    samples["median"] = _medians(e, index, weights)
    samples["medae"] = _medians(np.abs(e), index, weights)
    # NMAD of a draw is taken about the median of all, which varies little against the spread itself.
    samples["nmad"] = 1.4826 * _medians(np.abs(e - np.median(e)), index, weights)
    tail = 100 * (1 - LEVEL) / 2
    found: dict[str, Interval | None] = {}
    for name in BOOTSTRAPPED:
        low, high = np.percentile(samples[name], (tail, 100 - tail))
        found[name] = Interval(float(low), float(high), int(blocks.size))
    return found


def paired_difference(
    first: Floats, second: Floats, domain: Bools, *, block_px: int = BLOCK_PX, repeats: int = REPEATS, seed: int = 0
) -> Interval | None:
    """Return the interval of MAE(second) - MAE(first) on the same pixels and the same draws of blocks, metres."""
    inside = np.flatnonzero(domain)
    names = block_ids((domain.shape[0], domain.shape[1]), block_px).ravel()[inside]
    blocks, index = np.unique(names, return_inverse=True)
    if blocks.size < 2:
        return None
    gain = np.abs(second.ravel()[inside]) - np.abs(first.ravel()[inside])
    sums, counts = np.bincount(index, gain, blocks.size), np.bincount(index, minlength=blocks.size)
    drawn = derived_rng(seed, "block bootstrap", block_px).integers(0, blocks.size, (repeats, blocks.size))
    samples = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, (tail, 100 - tail))
    return Interval(float(low), float(high), int(blocks.size))


def _moments(e: Floats) -> Mapping[str, Floats]:
    return {"e": e, "a": np.abs(e), "e2": e * e}


def _medians(values: Floats, index: NDArray[np.int64], weights: Floats) -> Floats:
    """Return the median of every weighted draw from per-block histograms, float64 [repeats]."""
    squeezed = np.arcsinh(values)
    low, high = float(squeezed.min()), float(squeezed.max())
    if low == high:
        return np.full(weights.shape[0], float(values[0]))
    position = np.minimum(((squeezed - low) * (MEDIAN_BINS / (high - low))).astype(np.int64), MEDIAN_BINS - 1)
    blocks = weights.shape[1]
    histogram = np.bincount(index * MEDIAN_BINS + position, minlength=blocks * MEDIAN_BINS)
    cumulative = np.cumsum(weights @ histogram.reshape(blocks, MEDIAN_BINS).astype(np.float64), axis=1)
    half = cumulative[:, -1:] / 2
    bins = np.argmax(cumulative >= half, axis=1)
    draws = np.arange(weights.shape[0])
    below = np.where(bins > 0, cumulative[draws, bins - 1], 0.0)
    share = (half[:, 0] - below) / (cumulative[draws, bins] - below)
    return np.asarray(np.sinh(low + (bins + share) * (high - low) / MEDIAN_BINS), np.float64)
