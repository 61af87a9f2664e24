"""Draws of blocks with replacement: neighbouring pixels are not independent, so blocks are drawn, not pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.method import derived_rng
from refbench.evaluation.residuals import NMAD_FACTOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

BLOCK_PX = 64
REPEATS = 400
MEDIAN_BINS = 4096


def block_sides(pixel: tuple[float, float], block_px: int = BLOCK_PX) -> tuple[int, int]:
    """Return the rows and columns of a block that is square on the ground.

    ``pixel`` is the size of a pixel down the rows and along the columns. A block has the area of ``block_px`` squared
    pixels: ``block_px`` rows and columns where pixels are square.

    >>> block_sides((1.0, 1.0)), block_sides((1.0, 0.25))
    ((64, 64), (32, 128))
    """
    side = block_px * (pixel[0] * pixel[1]) ** 0.5
    return max(1, round(side / pixel[0])), max(1, round(side / pixel[1]))


def block_ids(shape: tuple[int, int], sides: tuple[int, int] = (BLOCK_PX, BLOCK_PX)) -> NDArray[np.int64]:
    """Return the number of the block of ``sides`` (rows, columns) of every pixel, int64 [rows, cols]."""
    rows, cols = np.arange(shape[0]) // sides[0], np.arange(shape[1]) // sides[1]
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
        cls,
        domain: Bools,
        ids: NDArray[np.int64] | None = None,
        *,
        block_px: int = BLOCK_PX,
        repeats: int = REPEATS,
        seed: int = 0,
    ) -> BlockDraws | None:
        """Return the draws over ``domain`` [rows, cols]; None where fewer than two blocks hold pixels.

        ``ids`` number the block of every pixel; by default squares of ``block_px`` from the upper left.
        """
        inside = np.flatnonzero(domain)
        if ids is None:
            ids = block_ids((domain.shape[0], domain.shape[1]), (block_px, block_px))
        names = ids.ravel()[inside]
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


class ResidualSample:
    """``DrawnResiduals`` in memory: residuals [rows, cols] in metres, of which only the pixels of the draws count.

    Medians come from histograms with ``MEDIAN_BINS`` bins between the extremes after compression by asinh,
    interpolated inside a bin: far finer than intervals are wide.
    """

    def __init__(self, residuals: Floats, draws: BlockDraws) -> None:
        self._e = residuals.ravel()[draws.inside].astype(np.float64)
        self._draws = draws

    @property
    def mean(self) -> Floats:
        """Mean e in every draw, float64 [repeats]."""
        return self._mean(self._e)

    @property
    def mean_size(self) -> Floats:
        """Mean a in every draw, float64 [repeats]."""
        return self._mean(np.abs(self._e))

    @property
    def root_mean_square(self) -> Floats:
        """Square root of the mean of e² in every draw, float64 [repeats]."""
        return np.asarray(np.sqrt(self._mean(self._e * self._e)), np.float64)

    @property
    def median(self) -> Floats:
        """Median e in every draw, float64 [repeats]."""
        return self._median(self._e)

    @property
    def median_size(self) -> Floats:
        """Median a in every draw, float64 [repeats]."""
        return self._median(np.abs(self._e))

    @property
    def spread(self) -> Floats:
        """NMAD in every draw, about the median of all, which varies little against the spread itself."""
        return NMAD_FACTOR * self._median(np.abs(self._e - np.median(self._e)))

    @cached_property
    def _count(self) -> Floats:
        return self._draws.sums()

    def _mean(self, values: Floats) -> Floats:
        return self._draws.sums(values) / self._count

    def _median(self, values: Floats) -> Floats:
        return _medians(values, self._draws.index, self._draws.weights)


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
    fraction = (half[:, 0] - below) / (cumulative[draws, bins] - below)
    return np.asarray(np.sinh(low + (bins + fraction) * (high - low) / MEDIAN_BINS), np.float64)
