"""Statistics of residuals by the records of ``metrics``: e = evaluated - reference, metres, float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.metrics import RESIDUAL
from refbench.evaluation.metrics.residual import COUNTS
from refbench.evaluation.residuals import Residuals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.evaluation.states import ResidualState

TRUNCATION_M = 5.0
TRUNCATED = f"truncated_{TRUNCATION_M:g}m"
# Beside the metrics: some of them of the residuals with |e| <= 5 m, as a published evaluation prints them.
_TRUNCATED_KEYS = ("n", "mae", "rmse", "medae", "median", "nmad", "nmad_about_medae")


def statistics(residuals: NDArray[np.float64], n_ref_valid: int | None = None) -> dict[str, Any]:
    """Return every metric of one set of residuals.

    Parameters
    ----------
    residuals
        float64 [N], finite, metres, in any order.
    n_ref_valid
        Size of the reference domain, for completeness; None takes N.

    Returns
    -------
    dict
        Key to value; None for all but the counts where N is 0.
    """
    return ordered_statistics(np.sort(np.asarray(residuals, np.float64)), n_ref_valid)


def ordered_statistics(e: NDArray[np.float64], n_ref_valid: int | None = None) -> dict[str, Any]:
    """Return ``statistics`` of residuals that are ascending already. ``e`` is float64 [n], metres."""
    return statistics_of(Residuals(e, e.size if n_ref_valid is None else int(n_ref_valid)))


def statistics_of(of: ResidualState) -> dict[str, Any]:
    """Return ``statistics`` of a state of residuals."""
    values: dict[str, Any] = {m.key: m.compute(of) if of.n or m.key in COUNTS else None for m in RESIDUAL}
    return {**values, TRUNCATED: _truncated(of) if of.n else None}


def _truncated(of: ResidualState) -> dict[str, Any]:
    """Return the metrics of the residuals that ResDepth keeps: |e| <= T."""
    kept = of.truncated(TRUNCATION_M)
    return {m.key: m.compute(kept) if kept.n or m.key == "n" else None for m in RESIDUAL if m.key in _TRUNCATED_KEYS}


def relative_gain(initial: Mapping[str, Any], refined: Mapping[str, Any]) -> dict[str, float | None]:
    """Return 1 - refined / initial for the main errors; None where one is missing or the initial error is 0."""
    gains: dict[str, float | None] = {}
    for key in (metric.key for metric in RESIDUAL if metric.has_gain):
        before, after = initial.get(key), refined.get(key)
        gains[key] = 1 - after / before if before and after is not None else None
    return gains
