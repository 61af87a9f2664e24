"""``evaluate`` and ``evaluate_pair`` of rasters of any size: the same keys, from sums in place of arrays."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from refbench.evaluation.conventions import COMPLETENESS, CONVENTIONS, LAYERS, own_completeness
from refbench.evaluation.metrics import RESIDUAL
from refbench.evaluation.misalignment import misalignment_warnings
from refbench.evaluation.shape import Surface
from refbench.evaluation.statistics import relative_gain
from refbench.evaluation.streaming.rounded import STEP_M
from refbench.evaluation.streaming.score import Protocol, Streamed, stream
from refbench.evaluation.streaming.windows import side_by_side
from refbench.evaluation.uncertainty import LEVEL, Interval, interval

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.evaluation.streaming.blocks import StreamedDraws
    from refbench.evaluation.streaming.drawn_sums import DrawnSums
    from refbench.evaluation.streaming.tiles import Rasters

    Floats = NDArray[np.float64]

INPUT, REFINED = "input", "refined"
ROUNDED = f"of residuals rounded to {1000 * STEP_M:.2g} mm"


def scores_of_one(
    rasters: Rasters, grid: Grid, layers: Collection[str], *, bootstrap: bool, seed: int, budget_bytes: int
) -> dict[str, Any]:
    """Return ``evaluate`` of the one DSM among the rasters, which came on ``grid``."""
    found = stream(rasters, Protocol(layers, bootstrap, seed, budget_bytes=budget_bytes))
    return _scores(found, {REFINED: grid}, layers, bootstrap=bootstrap)[REFINED]


def scores_of_pair(
    rasters: Rasters, grids: Mapping[str, Grid], *, bootstrap: bool, seed: int, budget_bytes: int
) -> dict[str, Any]:
    """Return ``evaluate_pair`` of the DSMs ``INPUT`` and ``REFINED``, which came on ``grids``."""
    protocol = Protocol(LAYERS, bootstrap, seed, (INPUT, REFINED), True, budget_bytes)
    found = stream(rasters, protocol)
    metrics: dict[str, Any] = _scores(found, grids, LAYERS, bootstrap=bootstrap)
    own: dict[str, Any] = {}
    for name, scores in metrics.items():
        own[name] = {
            **copy.deepcopy(found.own_statistics(name, scores)),
            "notes": {key: text for key, text in scores["notes"].items() if key in CONVENTIONS},
        }
        own_completeness(scores, own[name])
    metrics["own_domain"] = own
    metrics["gain"] = relative_gain(metrics[INPUT]["all"], metrics[REFINED]["all"])
    for stratum, bit in found.bit_of.items():
        metrics[REFINED][stratum] |= found.common[REFINED].pair(bit)
    if bootstrap:
        metrics["mae_difference"] = None
        if found.draws is not None and found.drawn_pairs is not None:
            sizes = [found.drawn[name].mean_size for name in (INPUT, REFINED)]
            metrics["mae_difference"] = asdict(interval(sizes[1] - sizes[0], found.draws.blocks))
            metrics[REFINED]["intervals"]["all"] |= {
                key: asdict(interval(drawn, found.draws.blocks)) for key, drawn in found.drawn_pairs.samples().items()
            }
    return metrics


def _scores(
    found: Streamed, grids: Mapping[str, Grid], layers: Collection[str], *, bootstrap: bool
) -> dict[str, dict[str, Any]]:
    """Return DSM -> stratum -> metrics, with ``shape``, ``intervals`` and ``notes`` beside."""
    scores: dict[str, dict[str, Any]] = {}
    is_empty = not found.survey.counts.any()
    warnings = {} if is_empty or not {"slope", "shape"} & set(layers) else _warnings(found, grids)
    for name in found.rasters.dsms:
        of: dict[str, Any] = dict(found.statistics(name))
        if "shape" in layers:
            of["shape"] = found.shape(name)
        if bootstrap:
            drawn = _intervals(found.drawn.get(name), found.draws)
            of["intervals"] = {"all": {k: None if i is None else asdict(i) for k, i in drawn.items()}, "level": LEVEL}
        of["notes"] = dict(CONVENTIONS) | {"percentiles": ROUNDED}
        if {"slope", "shape"} & set(layers):
            of["notes"]["warnings"] = warnings.get(name, [])
        if is_empty:
            of["notes"]["empty"] = "No pixel is valid in both: every metric is null."
        scores[name] = of
    return scores


def _intervals(drawn: DrawnSums | None, draws: StreamedDraws | None) -> dict[str, Interval | None]:
    metrics = [metric for metric in RESIDUAL if metric.intervals != "none" and metric.resample is not None]
    if drawn is None or draws is None:
        return dict.fromkeys(metric.key for metric in metrics)
    samples = {metric.key: metric.resample(drawn) for metric in metrics if metric.resample is not None}
    return {key: interval(values, draws.blocks) for key, values in samples.items()}


def _warnings(found: Streamed, grids: Mapping[str, Grid]) -> dict[str, list[str]]:
    """Return DSM -> sentences on a shift or another datum, from a few windows."""
    rasters = found.rasters
    heights, dsms, where = side_by_side(rasters, found.survey.layout, found.survey.counts)
    surface = Surface(heights, rasters.grid.transform)
    said = {}
    for name, values in dsms.items():
        median = found.survey.residuals[name].distribution().percentile(50)
        said[name] = misalignment_warnings(values, surface, where, (grids[name], rasters.grid), median)
    return said


__all__ = ["COMPLETENESS", "INPUT", "REFINED", "scores_of_one", "scores_of_pair"]
