"""Metrics of depth maps in camera space: d evaluated, d' the reference's, metres; e = d - d', a = |e|."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.metrics.record import ComputedMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DELTA = 1.25


class DepthPair:
    """Depths float64 [n] in metres, positive and known in both maps, and on how many pixels the reference is known."""

    def __init__(self, depth: Floats, reference: Floats, n_reference: int) -> None:
        self.depth, self.reference, self.n_reference = depth, reference, n_reference
        self.e = depth - reference

    @cached_property
    def positive(self) -> Floats:
        """Depths above 0: an alignment's shift may push some below."""
        return np.maximum(self.depth, np.finfo(np.float64).tiny)

    @cached_property
    def ratio(self) -> Floats:
        """The larger of d / d' and d' / d [n]."""
        return np.maximum(self.positive / self.reference, self.reference / self.positive)


def _within_factor(power: int) -> ComputedMetric[DepthPair]:
    label = "δ < 1.25" if power == 1 else f"δ < 1.25^{power}"
    return ComputedMetric(
        key=f"delta_{power}",
        label=label,
        unit="fraction",
        direction="higher",
        formula=f"depth maps: fraction of the compared pixels whose depths differ by a factor {label}",
        compute=lambda p: float(np.mean(p.ratio < DELTA**power)),
        shown=("table", "summary") if power == 1 else (),
    )


DEPTH: tuple[ComputedMetric[DepthPair], ...] = (
    ComputedMetric(
        key="completeness_valid",
        label="completeness",
        unit="fraction",
        direction="higher",
        formula="depth maps: fraction of the reference's pixels that have a depth",
        compute=lambda p: p.e.size / p.n_reference if p.n_reference else None,
        shown=("table", "summary", "compared"),
    ),
    ComputedMetric(
        key="mae",
        label="MAE",
        unit="m",
        direction="lower",
        formula="depth maps: mean a",
        compute=lambda p: float(np.mean(np.abs(p.e))),
        shown=("table", "summary", "compared"),
    ),
    ComputedMetric(
        key="rmse",
        label="RMSE",
        unit="m",
        direction="lower",
        formula="depth maps: square root of the mean of e²",
        compute=lambda p: float(np.sqrt(np.mean(p.e**2))),
        shown=("table", "summary", "compared"),
    ),
    ComputedMetric(
        key="abs_rel",
        label="AbsRel",
        unit="ratio",
        direction="lower",
        formula="depth maps: mean of a over the reference's depth",
        compute=lambda p: float(np.mean(np.abs(p.e) / p.reference)),
        shown=("table", "summary"),
    ),
    ComputedMetric(
        key="sq_rel",
        label="SqRel (m)",
        unit="ratio",
        direction="lower",
        formula="depth maps: mean of e² over the reference's depth",
        compute=lambda p: float(np.mean(p.e**2 / p.reference)),
    ),
    ComputedMetric(
        key="rmse_log",
        label="RMSE of logarithms",
        unit="ratio",
        direction="lower",
        formula="depth maps: root mean square difference of the logarithms",
        compute=lambda p: float(np.sqrt(np.mean((np.log(p.positive) - np.log(p.reference)) ** 2))),
    ),
    ComputedMetric(
        key="inverse_l1",
        label="inverse L1 (1/m)",
        unit="ratio",
        direction="lower",
        formula="depth maps: mean of |1/d - 1/d'|",
        compute=lambda p: float(np.mean(np.abs(1 / p.positive - 1 / p.reference))),
    ),
    *(_within_factor(power) for power in (1, 2, 3)),
)
