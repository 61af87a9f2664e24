"""Medians in the draws of a bootstrap: counts of pixels by block and by quantile of all, weighted draw by draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.streaming.rounded import NEAR, STEP_M, Distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.evaluation.streaming.blocks import StreamedDraws, TileBlocks

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

QUANTILES = 512
"""Bins of as many pixels each: a median of a draw is told to 1/512 of all pixels and interpolated inside."""


class DrawnMedians:
    """Medians of a quantity in every draw.

    Parameters
    ----------
    of_all
        Distribution of the quantity over all pixels, metres.
    draws
        The draws.
    """

    def __init__(self, of_all: Distribution, draws: StreamedDraws) -> None:
        steps = np.rint(of_all.values / STEP_M).astype(np.int64)
        # The quantile in which a step begins: equal numbers of pixels, and never half a step.
        bins = (np.cumsum(of_all.counts) - of_all.counts) * QUANTILES // of_all.n
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        self._firsts = steps[starts]
        ends = np.append(steps[starts[1:] - 1], steps[-1])
        self._edges = (self._firsts - 0.5) * STEP_M, (ends + 0.5) * STEP_M
        # For steps near 0, which are nearly all, the bin is looked up.
        self._table = self._search(np.arange(-NEAR, NEAR + 1))
        self._draws = draws
        self._totals = np.zeros((len(draws.weights), starts.size))

    def _search(self, steps: NDArray[np.int64]) -> Indices:
        return np.maximum(np.searchsorted(self._firsts, steps, "right") - 1, 0)

    def add(self, steps: NDArray[np.int32], index: Indices, blocks: TileBlocks) -> None:
        """Count steps [N] of pixels of a tile that lie in the blocks ``index`` [N]."""
        bins = self._table[steps.clip(-NEAR, NEAR) + NEAR]
        if (far := np.flatnonzero(np.abs(steps) > NEAR)).size:
            bins[far] = self._search(steps[far].astype(np.int64))
        weights, places = self._draws.of_tile(blocks)
        width = self._totals.shape[1]
        counts = np.bincount(index * width + bins, minlength=(int(places.max(initial=0)) + 1) * width)
        # Whole numbers below 2^24: single precision adds them without a rounding.
        self._totals += weights @ counts.reshape(-1, width)[places].astype(np.float32)

    def values(self) -> Floats:
        """Return the median of every draw, float64 [repeats]."""
        cumulative = np.cumsum(self._totals, axis=1)
        half = cumulative[:, -1] / 2
        bins = np.argmax(cumulative >= half[:, None], axis=1)
        draws = np.arange(len(bins))
        held = self._totals[draws, bins]
        fraction = (half - (cumulative[draws, bins] - held)) / held
        low, high = (edge[bins] for edge in self._edges)
        return np.asarray(low + (high - low) * fraction, np.float64)
