"""Residuals in the draws of a bootstrap, from sums of blocks: ``DrawnResiduals`` of rasters of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.metrics import PAIR
from refbench.evaluation.residuals import NMAD_FACTOR
from refbench.evaluation.streaming.drawn_medians import DrawnMedians
from refbench.evaluation.streaming.rounded import STEP_M

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.evaluation.streaming.blocks import StreamedDraws, TileBlocks
    from refbench.evaluation.streaming.rounded import RoundedCounts

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]


class DrawnSums:
    """Sums of one DSM by block, and its medians by draw.

    Parameters
    ----------
    counts
        Pixels of the domain in every block [rows, cols].
    spread
        Residuals of the whole domain.
    draws
        The draws.
    """

    def __init__(self, counts: Floats, spread: RoundedCounts, draws: StreamedDraws) -> None:
        self._draws, self._count = draws, draws.sums(counts)
        self._signed, self._sizes, self._squares = (np.zeros_like(counts) for _ in range(3))
        values = spread.distribution()
        self._centre = round(values.percentile(50) / STEP_M)
        """The median of all, in steps."""
        self._median = DrawnMedians(values, draws)
        self._median_size = DrawnMedians(values.about(0.0), draws)
        self._spread = DrawnMedians(values.about(self._centre * STEP_M), draws)

    def add(self, e: Floats, sizes: Floats, steps: NDArray[np.int32], index: Indices, blocks: TileBlocks) -> None:
        """Take in residuals [N] of pixels in the blocks ``index`` [N] of a tile, their magnitudes and steps."""
        for sums, values in ((self._signed, e), (self._sizes, sizes), (self._squares, e * e)):
            blocks.add(sums, index, values)
        self._median.add(steps, index, blocks)
        self._median_size.add(np.abs(steps), index, blocks)
        self._spread.add(np.abs(steps - self._centre), index, blocks)

    @property
    def mean(self) -> Floats:
        """Mean e in every draw, float64 [repeats]."""
        return self._draws.sums(self._signed) / self._count

    @property
    def mean_size(self) -> Floats:
        """Mean a in every draw, float64 [repeats]."""
        return self._draws.sums(self._sizes) / self._count

    @property
    def root_mean_square(self) -> Floats:
        """Square root of the mean of e² in every draw, float64 [repeats]."""
        return np.asarray(np.sqrt(self._draws.sums(self._squares) / self._count), np.float64)

    @property
    def median(self) -> Floats:
        """Median e in every draw, float64 [repeats]."""
        return self._median.values()

    @property
    def median_size(self) -> Floats:
        """Median a in every draw, float64 [repeats]."""
        return self._median_size.values()

    @property
    def spread(self) -> Floats:
        """NMAD in every draw, about the median of all."""
        return NMAD_FACTOR * self._spread.values()


class DrawnPairs:
    """What a refinement did, by block."""

    def __init__(self, counts: Floats, draws: StreamedDraws) -> None:
        self._draws = draws
        self._sums = {metric.key: (np.zeros_like(counts), np.zeros_like(counts)) for metric in PAIR}

    def add(self, before: Floats, after: Floats, index: Indices, blocks: TileBlocks) -> None:
        """Take in magnitudes of residuals [N] before and after."""
        for metric in PAIR:
            for sums, of in zip(self._sums[metric.key], (metric.part, metric.whole), strict=True):
                blocks.add(sums, index, of(before, after))

    def samples(self) -> dict[str, Floats]:
        """Return metric -> its value in every draw [repeats]; NaN in a draw without a pixel that it counts among."""
        found = {}
        for key, (parts, wholes) in self._sums.items():
            part, whole = self._draws.sums(parts), self._draws.sums(wholes)
            if whole.any():
                found[key] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
        return found
