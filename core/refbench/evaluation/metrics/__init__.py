"""Every metric by its record: how it is computed, and what tables, pages, comparisons and the schema say of it.

A new metric is a record in the module of its kind; nothing else names it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.evaluation.metrics.depth import DEPTH as DEPTH
from refbench.evaluation.metrics.pair import PAIR as PAIR
from refbench.evaluation.metrics.residual import COMMON
from refbench.evaluation.metrics.residual import RESIDUAL as RESIDUAL
from refbench.evaluation.metrics.shape import SHAPE as SHAPE
from refbench.evaluation.metrics.views import VIEWS as VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from refbench.evaluation.metrics.record import Metric, Place

HEIGHTS: tuple[Metric, ...] = (*RESIDUAL, *PAIR, COMMON)
"""Metrics of heights on a stratum, in the order in which tables show them, counts last."""
METRICS: dict[str, Metric] = {}
"""Key -> metric. Where depth maps or views have a metric of heights' name, its heading is the same."""
for _metric in (*HEIGHTS, *SHAPE, *DEPTH, *VIEWS):
    METRICS.setdefault(_metric.key, _metric)
RANKED: tuple[str, ...] = tuple(m.key for m in RESIDUAL if m.is_ranked) + tuple(m.key for m in PAIR if m.is_ranked)
"""Metrics whose differences between methods are tested and whose ranks are given."""


def shown_in(place: Place, metrics: Iterable[Metric] = HEIGHTS) -> tuple[str, ...]:
    """Return the keys of the metrics that are columns somewhere; counts come last."""
    keys = [metric for metric in metrics if place in metric.shown]
    return tuple(metric.key for metric in sorted(keys, key=lambda metric: metric.unit == "count"))


def metric(key: str) -> Metric:
    """Return the metric of a key.

    Raises
    ------
    InputError
        There is no such metric; the message lists near ones.
    """
    if key in METRICS:
        return METRICS[key]
    near = difflib.get_close_matches(key, METRICS, n=3, cutoff=0.3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(METRICS)}."
    raise InputError(f"There is no metric {key!r}; {hint}")


def metrics_schema() -> dict[str, Any]:
    """Return the JSON Schema of a stratum's metrics: a number or null each, with formula, unit and direction."""

    def of(metrics: Iterable[Metric]) -> dict[str, Any]:
        return {
            m.key: {
                "type": ["integer" if m.unit == "count" else "number", "null"],
                "title": m.label,
                "description": m.formula,
                "x-unit": m.unit,
                "x-better": m.direction,
            }
            for m in metrics
        }

    kinds = {"heights": HEIGHTS, "shape": SHAPE, "depth": DEPTH, "views": VIEWS}
    return {name: {"type": "object", "properties": of(metrics)} for name, metrics in kinds.items()}
