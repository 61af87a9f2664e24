"""Values of any quantity, such as angles, as sums that merge; see ``states.ValueState``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.streaming.rounded import Distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class ValueSums:
    """Sums of values, and counts of values from 0 to ``largest`` rounded to ``step`` where a median is wanted."""

    def __init__(self, step: float = 1.0, largest: float = 0.0) -> None:
        self.n, self._sum, self._sizes, self._squares = 0, 0.0, 0.0, 0.0
        self._step, self._last = step, round(largest / step)
        self._counts = np.zeros(self._last + 1, np.int64)

    def add(self, values: Floats) -> None:
        """Take in values [N]; at least 0 where they are counted."""
        if not values.size:
            return
        self.n += values.size
        self._sum += float(values.sum())
        self._sizes += float(np.abs(values).sum())
        self._squares += float((values * values).sum())
        if self._last:
            steps = np.rint(values / self._step).astype(np.int64)
            self._counts += np.bincount(np.minimum(steps, self._last), minlength=self._last + 1)

    @property
    def mean(self) -> float | None:
        """Mean."""
        return self._sum / self.n if self.n else None

    @property
    def mean_size(self) -> float | None:
        """Mean of the magnitudes."""
        return self._sizes / self.n if self.n else None

    @property
    def root_mean_square(self) -> float | None:
        """Square root of the mean square."""
        return float(np.sqrt(self._squares / self.n)) if self.n else None

    @property
    def median(self) -> float | None:
        """Median, to half a step."""
        if not self.n:
            return None
        held = np.flatnonzero(self._counts)
        return Distribution(held.astype(np.float64) * self._step, self._counts[held]).percentile(50)
