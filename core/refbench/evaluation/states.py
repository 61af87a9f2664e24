"""What metrics are computed from: states that hold all values at once, or that are filled and merged part by part.

A metric's record asks a state by these names and never for the values themselves. So one record serves a raster in
memory (``residuals``, ``shape``) and a raster of any size (``streaming``), whose states of two parts merge: counts and
sums add up, means and squares by Chan's formula, order statistics by counts of rounded values.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class ResidualState(Protocol):
    """Residuals e of a stratum, metres, of which a = |e|; nothing but the counts is asked where ``n`` is 0."""

    n: int
    n_ref_valid: int
    """Pixels of the stratum on which the reference counts."""

    @property
    def mean(self) -> float:
        """Mean e."""

    @property
    def mean_size(self) -> float:
        """Mean a."""

    @property
    def root_mean_square(self) -> float:
        """Square root of the mean of e²."""

    @property
    def deviation(self) -> float:
        """Population standard deviation, about the mean."""

    @property
    def smallest(self) -> float:
        """Smallest e."""

    @property
    def largest(self) -> float:
        """Largest e."""

    def percentile(self, percent: float) -> float:
        """Return a percentile of e."""

    def size(self, percent: float, centre: float = 0.0) -> float:
        """Return a percentile of |e - centre|."""

    def spread(self, centre: float) -> float:
        """Return 1.4826 median|e - centre|."""

    def number_within(self, limit: float) -> int:
        """Return the number of residuals with a < limit, strictly."""

    def truncated(self, limit: float) -> ResidualState:
        """Return the residuals with a <= limit."""


class DrawnResiduals(Protocol):
    """Statistics of residuals in every draw of a bootstrap, float64 [repeats] each, metres."""

    @property
    def mean(self) -> Floats:
        """Mean e."""

    @property
    def mean_size(self) -> Floats:
        """Mean a."""

    @property
    def root_mean_square(self) -> Floats:
        """Square root of the mean of e²."""

    @property
    def median(self) -> Floats:
        """Median e."""

    @property
    def median_size(self) -> Floats:
        """Median a."""

    @property
    def spread(self) -> Floats:
        """NMAD, about the median of all residuals."""


class ValueState(Protocol):
    """Values of any quantity; every property is None where there are none."""

    @property
    def mean(self) -> float | None:
        """Mean."""

    @property
    def mean_size(self) -> float | None:
        """Mean of the magnitudes."""

    @property
    def root_mean_square(self) -> float | None:
        """Square root of the mean square."""

    @property
    def median(self) -> float | None:
        """Median."""


class ShapeState(Protocol):
    """Two surfaces compared by slopes, edges and roofs."""

    n: int
    """Pixels of the domain on which both slopes are defined."""

    @property
    def strata(self) -> Mapping[str, object]:
        """The strata by name; only the names count here."""

    @property
    def slope_error_deg(self) -> ValueState:
        """Slope evaluated minus reference, degrees."""

    @property
    def normal_angle_deg(self) -> ValueState:
        """Angle between the normals, degrees."""

    @property
    def roof_normal_angle_deg(self) -> ValueState:
        """The same on roofs: building mask eroded by 3."""

    @property
    def step_edges(self) -> tuple[float | None, float | None]:
        """Precision and recall of height steps."""

    @property
    def roof_planes(self) -> dict[int, float]:
        """Label -> RMS distance of the evaluated roof to its plane, metres."""

    def gradient_ratio(self, stratum: str) -> float | None:
        """Return the sum of gradient magnitudes in a stratum over that of the reference; None where that is 0."""


class Values:
    """A ``ValueState`` of values float64 [N] in memory."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    @cached_property
    def mean(self) -> float | None:
        """Mean."""
        return float(self._values.mean()) if self._values.size else None

    @cached_property
    def mean_size(self) -> float | None:
        """Mean of the magnitudes."""
        return float(np.abs(self._values).mean()) if self._values.size else None

    @cached_property
    def root_mean_square(self) -> float | None:
        """Square root of the mean square."""
        return float(np.sqrt(np.mean(self._values**2))) if self._values.size else None

    @cached_property
    def median(self) -> float | None:
        """Median."""
        return median(self._values)


def median(values: Iterable[float] | Floats) -> float | None:
    """Return the median of numbers in any order; None where there are none.

    >>> median([3.0, 1.0, 2.0]), median([])
    (2.0, None)
    """
    known = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    return float(np.median(known)) if known.size else None
