"""Metrics of what a refinement did to its input, pixel by pixel: a before and a after, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.evaluation.metrics.record import Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Part = Callable[[Floats, Floats], NDArray[np.bool_] | Floats]

HARM_M = 0.5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PairMetric(Metric):
    """The sum of ``part`` over that of ``whole``, on every stratum, with an interval by block bootstrap.

    Both are functions of |e| before and after the refinement, float64 [N] of the pixels that both know.
    """

    part: Part
    whole: Part
    is_ranked: bool = True


PAIR: tuple[PairMetric, ...] = (
    PairMetric(
        key="harm_rate",
        label="harm rate",
        unit="fraction",
        direction="lower",
        formula=f"of the pixels with a <= {HARM_M:g} m before the refinement, the fraction with a > {HARM_M:g} m after",
        part=lambda before, after: (before <= HARM_M) & (after > HARM_M),
        whole=lambda before, _: before <= HARM_M,
        shown=("table", "page", "summary"),
    ),
)
