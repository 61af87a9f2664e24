"""Order statistics of any number of residuals: counts of residuals rounded to ``STEP_M``.

Why rounding is enough: every value moves by at most half a step, order statistics move by no more than the values do,
and so no percentile of e or of |e| is off by more than ``STEP_M / 2``, a difference of two by no more than ``STEP_M``,
and the NMAD, whose centre moves as well, by no more than 1.4826 ``STEP_M``: 0.73 mm. Counts are whole numbers, so the
merge of two parts is exact and the order of parts does not matter.

Beyond ``NEAR_M`` only the steps that occur are kept, and where these are more than ``FAR_STEPS`` they become twice as
wide. Wider steps hold narrower ones, so the outcome depends on the residuals alone, not on the order of their coming.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

STEP_M = 2.0**-11
NEAR_M = 8.0
NEAR = int(NEAR_M / STEP_M)
FAR = NEAR + 1
"""Stands for every step farther than ``NEAR`` in ``clipped``."""
FAR_STEPS = 1 << 15
LARGEST_STEP = 1 << 30


def steps_of(residuals: Floats) -> NDArray[np.int32]:
    """Return residuals [N] in metres as whole steps, int32 [N]; what exceeds 524 km counts as that."""
    steps = (residuals / STEP_M).clip(-LARGEST_STEP, LARGEST_STEP)
    return np.asarray(np.rint(steps, out=steps), np.int32)


@dataclass(slots=True, eq=False)
class RoundedCounts:
    """How many residuals lie on every step."""

    near: Counts = field(default_factory=lambda: np.zeros(2 * NEAR + 1, np.int64))
    """Of the steps from -``NEAR`` to ``NEAR``."""
    far: Counts = field(default_factory=lambda: np.empty(0, np.int64))
    """Other steps that occur, ascending, in units of 2**doublings steps, rounded down."""
    far_counts: Counts = field(default_factory=lambda: np.empty(0, np.int64))
    doublings: int = 0

    def add(self, steps: NDArray[np.int32]) -> None:
        """Count steps [N] from ``steps_of``."""
        found = np.bincount(steps.clip(-FAR, FAR) + FAR, minlength=2 * FAR + 1)
        self.near += found[1:-1]
        if found[0] or found[-1]:
            self._add_far(*np.unique(steps[np.abs(steps) > NEAR].astype(np.int64), return_counts=True), 0)

    def merge(self, other: RoundedCounts) -> None:
        """Take in the counts of another part."""
        self.near += other.near
        if other.far.size:
            self._add_far(other.far, other.far_counts, other.doublings)

    def _add_far(self, steps: Counts, counts: Counts, doublings: int) -> None:
        common = max(self.doublings, doublings)
        own, others = self.far >> (common - self.doublings), steps >> (common - doublings)
        self._set_far(np.concatenate((own, others)), np.concatenate((self.far_counts, counts)), common)
        while self.far.size > FAR_STEPS:
            self._set_far(self.far >> 1, self.far_counts, self.doublings + 1)

    def _set_far(self, steps: Counts, counts: Counts, doublings: int) -> None:
        self.far, place = np.unique(steps, return_inverse=True)
        self.far_counts = np.bincount(place, counts, self.far.size).astype(np.int64)
        self.doublings = doublings

    def distribution(self) -> Distribution:
        """Return the steps that occur, as metres, with their counts."""
        held = np.flatnonzero(self.near)
        width = 1 << self.doublings
        # A wide step stands for its middle; one of width 1 for itself.
        far = self.far * float(width) + (width - 1) / 2
        split = int(np.searchsorted(self.far, 0))
        steps = np.concatenate((far[:split], held - float(NEAR), far[split:]))
        counts = np.concatenate((self.far_counts[:split], self.near[held], self.far_counts[split:]))
        return Distribution(steps * STEP_M, counts)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Values [M], ascending, and how often each occurs, int64 [M]."""

    values: Floats
    counts: Counts

    @cached_property
    def _cumulative(self) -> Counts:
        return np.cumsum(self.counts)

    @property
    def n(self) -> int:
        """Number of values, repeated ones as often as they occur."""
        return int(self._cumulative[-1]) if self.counts.size else 0

    def percentile(self, percent: float) -> float:
        """Return a percentile, interpolated linearly between order statistics.

        >>> Distribution(np.array([1.0, 4.0]), np.array([3, 1])).percentile(100 * 5 / 6)
        2.5
        """
        place = percent / 100 * (self.n - 1)
        low = int(np.floor(place))
        first, second = np.searchsorted(self._cumulative, (low, min(low + 1, self.n - 1)), "right")
        left, right = float(self.values[first]), float(self.values[second])
        return left + (right - left) * (place - low)

    def about(self, centre: float) -> Distribution:
        """Return the distribution of the distances to a centre."""
        split = int(np.searchsorted(self.values, centre))
        distances = np.concatenate((centre - self.values[:split][::-1], self.values[split:] - centre))
        counts = np.concatenate((self.counts[:split][::-1], self.counts[split:]))
        order = np.argsort(distances, kind="stable")  # two ascending runs: this merges, it does not sort anew
        return Distribution(distances[order], counts[order])
