"""Numbers from papers against what was measured; the verdict is computed, never typed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.comparison import DOMAINS
from refbench.registry.registry import load_registry
from refbench.reporting.tables.model import MISSING, Column, Entry, Table, text_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from refbench.registry.records import Reported
    from refbench.reporting.tables.rows import Row

TOLERANCE = 0.05
"""Relative difference that still reproduces a number: papers do not give their spread."""
COLUMNS = (
    text_column("method", "method"),
    text_column("metric", "metric"),
    text_column("table", "table"),
    text_column("dataset", "dataset"),
    text_column("protocol", "protocol"),
    Column("reported", "reported"),
    Column("measured", "measured"),
    text_column("verdict", "verdict"),
)


class Verdict(str, Enum):
    """How a reported number stands against what was measured."""

    REPRODUCES = "reproduces"
    DIFFERS = "differs"
    PROTOCOL_DIFFERS = "protocol differs"
    DATA_UNAVAILABLE = "data unavailable"


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one method on one scene.

    ``metrics`` is domain -> stratum -> key -> value per seed, as in ``metrics`` of the results.
    """

    scene: str
    metrics: tuple[Mapping[str, Any], ...]


def verdict(reported: Reported, rows: Sequence[Measured]) -> tuple[Verdict, float | None]:
    """Return the verdict on a reported number, and the measured one where it was compared.

    Parameters
    ----------
    reported
        ``dataset`` is the id of a scene; ``protocol`` reads ``own`` or ``common``, or with a stratum
        ``own/building``; ``metric`` is a key of the metrics, also of a nested one such as ``truncated_5m.mae``. Any
        other protocol is one that refbench does not follow.
    rows
        What was measured with the method, on any scenes.

    It reproduces where the mean over seeds differs by at most the largest of ``TOLERANCE``, two standard deviations
    over the seeds and half a unit of the last digit that was reported.
    """
    same = [row for row in rows if _plain(row.scene) == _plain(reported.dataset) and row.metrics]
    if not same:
        return Verdict.DATA_UNAVAILABLE, None
    domain, _, stratum = reported.protocol.partition("/")
    values = [_at(metrics, domain, stratum or "all", *reported.metric.split(".")) for metrics in same[0].metrics]
    found = [value for value in values if value is not None]
    if domain not in DOMAINS or not found:
        return Verdict.PROTOCOL_DIFFERS, None
    measured = float(np.mean(found))
    spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
    allowed = max(TOLERANCE * abs(reported.value), 2 * spread, _half_unit(reported.value))
    reproduces = abs(measured - reported.value) <= allowed
    return (Verdict.REPRODUCES if reproduces else Verdict.DIFFERS), measured


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _half_unit(value: float) -> float:
    decimals = len(repr(float(value)).partition(".")[2])
    return 0.5 * 10.0**-decimals


def _at(metrics: Mapping[str, Any], *path: str) -> float | None:
    found: Any = metrics
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, (int, float)) else None


def measured_rows(rows: Iterable[Row]) -> dict[str, list[Measured]]:
    """Return label -> what was measured, from the rows of a sweep; scenes go by their own id and by the sweep's."""
    found: dict[str, list[Measured]] = {}
    for row in rows:
        scored = [job.result for job in row.jobs if job.result.metrics is not None]
        if not scored:
            continue
        # The common domain is known as the mean over seeds only.
        common = row.found.get("common", {})
        own = [(result.metrics or {})["own_domain"]["refined"] or {} for result in scored]
        metrics = tuple({"own": values, "common": common} for values in own)
        for scene in dict.fromkeys((row.scene, scored[0].scene)):
            found.setdefault(row.name, []).append(Measured(scene, metrics))
    return found


def reported_table(rows: Iterable[Row]) -> Table:
    """Return what the records of the sweep's methods report, beside what was measured, with the verdict."""
    rows = list(rows)
    methods = {row.name: job.result.method for row in rows for job in row.jobs}
    measured, registry = measured_rows(rows), load_registry()
    found = []
    for label, name in methods.items():
        for reported in registry.methods.get(name).reported if name in registry.methods else ():
            decided, value = verdict(reported, measured.get(label, ()))
            texts = (label, reported.metric, reported.table, reported.dataset, reported.protocol)
            numbers = (
                Entry(f"{reported.value:g}", reported.value),
                Entry(MISSING) if value is None else _number(value),
            )
            found.append((*map(Entry, texts), *numbers, Entry(decided.value)))
    note = (
        f"It reproduces where the difference is at most {100 * TOLERANCE:.0f} %, two standard deviations over seeds or "
        "half a unit of the last digit reported, whichever is largest."
    )
    return Table("reported", "Reported against measured", COLUMNS, tuple(found), (note,))


def _number(value: float) -> Entry:
    return Entry(f"{value:.3f}", value)
