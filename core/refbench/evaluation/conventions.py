"""What every score says of itself: signs, definitions, domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.evaluation.grids import KERNEL
from refbench.evaluation.metrics.residual import COMMON

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYERS = ("strata", "slope", "shape")
CONVENTIONS = {
    "residual": "evaluated minus reference, metres",
    "nmad": "1.4826 median|e - median e|",
    "le90": "90th percentile of |e|",
    "resampling": f"{KERNEL}, any invalid contributor makes the pixel invalid; masks nearest",
    "coregistration": "none",
}
COMPLETENESS = "completeness_valid"


def own_completeness(scores: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Put the completeness of a DSM's own pixels beside its scores on common ones, for every stratum that has it.

    A method that drops hard pixels lowers its error and shows it here.
    """
    for stratum, values in own.items():
        if isinstance(scores.get(stratum), dict) and COMPLETENESS in values:
            scores[stratum][COMMON.key] = scores[stratum][COMPLETENESS]
            scores[stratum][COMPLETENESS] = values[COMPLETENESS]
