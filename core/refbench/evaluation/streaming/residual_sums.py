"""Residuals of a part of the ground as sums that merge: what ``ResidualState`` asks for, of any number of pixels."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.metrics.residual import THRESHOLDS_M
from refbench.evaluation.residuals import NMAD_FACTOR
from refbench.evaluation.statistics import TRUNCATION_M
from refbench.evaluation.streaming.rounded import STEP_M, Distribution, RoundedCounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Moments:
    """Number, mean and squared deviations of values, and the sums of their magnitudes and squares."""

    __slots__ = ("deviations", "mean", "n", "sizes", "squares")

    def __init__(self) -> None:
        self.n, self.mean, self.deviations, self.sizes, self.squares = 0, 0.0, 0.0, 0.0, 0.0

    def add(self, values: Floats, sizes: Floats) -> None:
        """Take in values [N] whose magnitudes are ``sizes``."""
        if not values.size:
            return
        mean = float(values.mean())
        centred = values - mean
        centred *= centred
        self._join(values.size, mean, float(centred.sum()), float(sizes.sum()), float((sizes * sizes).sum()))

    def merge(self, other: Moments) -> None:
        """Take in the moments of another part."""
        if other.n:
            self._join(other.n, other.mean, other.deviations, other.sizes, other.squares)

    def _join(self, n: int, mean: float, deviations: float, sizes: float, squares: float) -> None:
        # Chan, Golub and LeVeque (1983): no difference of large sums is taken, whatever the offset of the values.
        whole, apart = self.n + n, mean - self.mean
        self.deviations += deviations + apart * apart * (self.n * n / whole)
        self.mean += apart * (n / whole)
        self.n, self.sizes, self.squares = whole, self.sizes + sizes, self.squares + squares


class ResidualSums:
    """What is kept of the residuals of one part of the ground."""

    __slots__ = ("counts", "kept", "kept_at_limit", "largest", "moments", "n_ref_valid", "smallest", "within")

    def __init__(self) -> None:
        self.n_ref_valid = 0
        self.moments, self.kept = Moments(), Moments()
        """Of all, and of those with a <= ``TRUNCATION_M``."""
        self.kept_at_limit = np.zeros(2, np.int64)
        """Of the latter, the numbers that round to -``TRUNCATION_M`` and to ``TRUNCATION_M``."""
        self.smallest, self.largest = np.inf, -np.inf
        self.within = np.zeros(len(THRESHOLDS_M), np.int64)
        """Numbers with a < t for every t of ``THRESHOLDS_M``."""
        self.counts = RoundedCounts()

    def add(self, e: Floats, steps: NDArray[np.int32]) -> None:
        """Take in residuals [N > 0] in metres, with their ``steps_of``."""
        sizes = np.abs(e)
        low, high = float(e.min()), float(e.max())
        self.smallest, self.largest = min(self.smallest, low), max(self.largest, high)
        self.moments.add(e, sizes)
        largest = max(-low, high)
        for number, limit in enumerate(THRESHOLDS_M):
            self.within[number] += e.size if largest < limit else np.count_nonzero(sizes < limit)
        keep = slice(None) if largest <= TRUNCATION_M else sizes <= TRUNCATION_M
        self.kept.add(e[keep], sizes[keep])
        if largest > TRUNCATION_M - STEP_M:
            edge = steps[keep] * STEP_M
            self.kept_at_limit += (np.count_nonzero(edge == -TRUNCATION_M), np.count_nonzero(edge == TRUNCATION_M))
        self.counts.add(steps)

    def merge(self, other: ResidualSums) -> None:
        """Take in what is known of another part."""
        self.n_ref_valid += other.n_ref_valid
        self.moments.merge(other.moments)
        self.kept.merge(other.kept)
        self.kept_at_limit += other.kept_at_limit
        self.smallest, self.largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        self.within += other.within
        self.counts.merge(other.counts)

    @classmethod
    def merged(cls, parts: Iterable[ResidualSums]) -> ResidualSums:
        """Return what is known of several parts together."""
        whole = cls()
        for part in parts:
            whole.merge(part)
        return whole

    def state(self) -> MergedResiduals:
        """Return what metrics are computed from."""
        return MergedResiduals(self)


class _Summary:
    """What follows from moments, extremes and rounded values."""

    def __init__(self, moments: Moments, values: Distribution, extremes: tuple[float, float], n_ref_valid: int) -> None:
        self._moments, self._values = moments, values
        self.n, self.n_ref_valid = moments.n, n_ref_valid
        self.smallest, self.largest = extremes
        self._about: dict[float, Distribution] = {}

    @property
    def mean(self) -> float:
        """Mean e."""
        return self._moments.mean

    @property
    def mean_size(self) -> float:
        """Mean a."""
        return self._moments.sizes / self.n

    @property
    def root_mean_square(self) -> float:
        """Square root of the mean of e²."""
        return float(np.sqrt(self._moments.squares / self.n))

    @property
    def deviation(self) -> float:
        """Population standard deviation, about the mean."""
        return float(np.sqrt(self._moments.deviations / self.n))

    def percentile(self, percent: float) -> float:
        """Return a percentile of e, to half a ``STEP_M``."""
        return float(np.clip(self._values.percentile(percent), self.smallest, self.largest))

    def size(self, percent: float, centre: float = 0.0) -> float:
        """Return a percentile of |e - centre|, to half a ``STEP_M``."""
        if centre not in self._about:
            self._about[centre] = self._values.about(centre)
        largest = max(self.largest - centre, centre - self.smallest)
        nearest = max(self.smallest - centre, centre - self.largest, 0.0)
        return float(np.clip(self._about[centre].percentile(percent), nearest, largest))

    def spread(self, centre: float) -> float:
        """Return 1.4826 median|e - centre|."""
        return NMAD_FACTOR * self.size(50, centre)


class MergedResiduals(_Summary):
    """A ``ResidualState`` of any number of residuals: counts and moments exact, percentiles of rounded values."""

    def __init__(self, sums: ResidualSums) -> None:
        super().__init__(sums.moments, sums.counts.distribution(), (sums.smallest, sums.largest), sums.n_ref_valid)
        self._sums = sums

    def number_within(self, limit: float) -> int:
        """Return the number of residuals with a < limit, strictly; ``limit`` is one of ``THRESHOLDS_M``."""
        return int(self._sums.within[THRESHOLDS_M.index(limit)])

    def truncated(self, limit: float) -> TruncatedResiduals:
        """Return the residuals with a <= limit, which is ``TRUNCATION_M``."""
        if limit != TRUNCATION_M:
            raise ValueError(f"Sums are kept below {TRUNCATION_M} m, not below {limit} m.")
        return self._truncated

    @cached_property
    def _truncated(self) -> TruncatedResiduals:
        values, counts = self._values.values, self._values.counts.copy()
        # What rounds to the limit may lie beyond it: these were counted apart.
        counts[values == -TRUNCATION_M], counts[values == TRUNCATION_M] = self._sums.kept_at_limit
        inside = (np.abs(values) <= TRUNCATION_M) & (counts > 0)
        extremes = max(self.smallest, -TRUNCATION_M), min(self.largest, TRUNCATION_M)
        return TruncatedResiduals(
            self._sums.kept, Distribution(values[inside], counts[inside]), extremes, self.n_ref_valid
        )


class TruncatedResiduals(_Summary):
    """The residuals with a <= ``TRUNCATION_M``, as a ``ResidualState``."""

    def number_within(self, limit: float) -> int:
        """Return the number of residuals with a < limit, by their rounded values."""
        return int(self._values.counts[np.abs(self._values.values) < limit].sum())

    def truncated(self, limit: float) -> TruncatedResiduals:
        """Return itself: it is truncated."""
        del limit
        return self
