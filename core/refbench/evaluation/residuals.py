"""Residuals of one stratum and what metrics take from them: e = evaluated - reference, metres, float64.

Percentiles interpolate linearly between order statistics (numpy's default).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NMAD_FACTOR = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation of normal errors their standard deviation."""


class Residuals:
    """A ``ResidualState`` in memory: residuals e, ascending float64 [N] in metres.

    ``n_ref_valid`` is the number of pixels of the reference in the stratum.
    """

    def __init__(self, ordered: Floats, n_ref_valid: int) -> None:
        self.e = ordered
        self.n = int(ordered.size)
        self.n_ref_valid = n_ref_valid
        self._distances: dict[tuple[float, float], float] = {}

    @property
    def smallest(self) -> float:
        """Smallest e."""
        return float(self.e[0])

    @property
    def largest(self) -> float:
        """Largest e."""
        return float(self.e[-1])

    @cached_property
    def mean(self) -> float:
        """Mean e."""
        return float(self.e.mean())

    @cached_property
    def mean_size(self) -> float:
        """Mean of |e|: the sum right of 0 less the sum left of it, for e ascends."""
        split = int(np.searchsorted(self.e, 0.0))
        return float(self.e[split:].sum() - self.e[:split].sum()) / self.n

    @cached_property
    def root_mean_square(self) -> float:
        """Square root of the mean of e²."""
        return float(np.sqrt(np.dot(self.e, self.e) / self.n))

    @cached_property
    def deviation(self) -> float:
        """Population standard deviation, about the mean."""
        centred = self.e - self.mean
        return float(np.sqrt(np.dot(centred, centred) / self.n))

    def percentile(self, percent: float) -> float:
        """Return a percentile of e."""
        return percentile(self.e, percent)

    def size(self, percent: float, centre: float = 0.0) -> float:
        """Return a percentile of |e - centre|."""
        key = percent, centre
        if key not in self._distances:
            self._distances[key] = distance_percentile(self.e, centre, percent)
        return self._distances[key]

    def spread(self, centre: float) -> float:
        """Return 1.4826 median|e - centre|: NMAD about the median (Hoehle and Hoehle 2009)."""
        return NMAD_FACTOR * self.size(50, centre)

    def number_within(self, limit: float) -> int:
        """Return the number of residuals with |e| < limit, strictly."""
        return max(int(np.searchsorted(self.e, limit, "left") - np.searchsorted(self.e, -limit, "right")), 0)

    def truncated(self, limit: float) -> Residuals:
        """Return the residuals with |e| <= limit."""
        kept = self.e[np.searchsorted(self.e, -limit, "left") : np.searchsorted(self.e, limit, "right")]
        return Residuals(kept, self.n_ref_valid)


def percentile(ordered: Floats, percent: float) -> float:
    """Return a percentile of ascending values [N].

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 50)
    2.5
    """
    place = percent / 100 * (ordered.size - 1)
    low = int(np.floor(place))
    left, right = float(ordered[low]), float(ordered[min(low + 1, ordered.size - 1)])
    return left + (right - left) * (place - low)


def distance_percentile(ordered: Floats, centre: float, percent: float) -> float:
    """Return a percentile of |v - centre| over ascending values v [N], by bisection: nothing is sorted again.

    >>> distance_percentile(np.array([-3.0, 0.0, 1.0]), 0.0, 50)
    1.0
    """
    place = percent / 100 * (ordered.size - 1)
    low = int(np.floor(place))
    left = _nearest(ordered, centre, low + 1)
    right = _nearest(ordered, centre, min(low + 2, ordered.size))
    return left + (right - left) * (place - low)


def _nearest(ordered: Floats, centre: float, count: int) -> float:
    """Return the ``count``-th smallest distance to ``centre``: the ``count`` nearest values are neighbours."""
    first, last = 0, ordered.size - count
    while first < last:
        middle = (first + last) // 2
        if centre - ordered[middle] > ordered[middle + count] - centre:
            first = middle + 1
        else:
            last = middle
    return max(abs(float(ordered[first]) - centre), abs(float(ordered[first + count - 1]) - centre))
