"""Residuals that lie far from all others, left out where the user asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM

NMAD_FACTOR = 1.4826
WIDTHS = 3.0
"""Residuals farther from their median than this many NMAD are outliers."""

LEAST_METRES = 0.01
"""Nothing this near the median is an outlier, however alike all others are."""


@dataclass(frozen=True, slots=True)
class Removed:
    """How many of ``of`` residuals were left out, and the limits in metres between which the others lie."""

    count: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        part = self.count / max(self.of, 1)
        return (
            f"{self.count:,} of {self.of:,} residuals ({part:.2%}) lie outside {self.low:.3f} to {self.high:.3f} m and "
            f"were left out ({WIDTHS:g} NMAD from the median)"
        )


def without_outliers(evaluated: DSM, reference: DSM) -> tuple[NDArray[np.bool_], Removed]:
    """Return where [rows, cols] residuals lie within ``WIDTHS`` NMAD of their median, and what that leaves out.

    Both DSMs lie on one grid; where either is unknown nothing is an outlier.
    """
    residuals = evaluated.heights.astype(np.float64) - reference.heights
    known = residuals[np.isfinite(residuals)]
    if not known.size:
        return np.ones(residuals.shape, np.bool_), Removed(0, 0, 0.0, 0.0)
    median = float(np.median(known))
    reach = max(LEAST_METRES, WIDTHS * NMAD_FACTOR * float(np.median(np.abs(known - median))))
    near = np.asarray(~(np.abs(residuals - median) > reach))  # NaN compares false
    return near, Removed(int((~near).sum()), int(known.size), median - reach, median + reach)
