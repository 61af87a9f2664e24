"""The table of published numbers beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.evaluation.reported import TOLERANCE, Measured, verdict
from refbench.registry.registry import load_registry
from refbench.reporting.tables.model import MISSING, Column, Entry, Table, text_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from refbench.registry.records import MethodRecord
    from refbench.reporting.tables.rows import Row

NONE_AVAILABLE = "none available"
COLUMNS = (
    text_column("method", "method"),
    text_column("metric", "metric"),
    text_column("table", "table"),
    text_column("dataset", "dataset"),
    text_column("protocol", "protocol"),
    text_column("source", "source"),
    Column("reported", "published"),
    Column("measured", "measured"),
    text_column("verdict", "verdict"),
)


def measured_rows(rows: Iterable[Row]) -> dict[str, list[Measured]]:
    """Return label -> what was measured, from the rows of a sweep; scenes go by their own id and by the sweep's."""
    found: dict[str, list[Measured]] = {}
    for row in rows:
        scored = [job.result for job in row.jobs if job.result.metrics is not None]
        if not scored:
            continue
        # The common domain is known as the mean over seeds only.
        common = row.found.get("common", {})
        metrics = tuple(
            {
                "own": of.get("own_domain", {}).get("refined") or {},
                "common": common,
                "assessors": (of.get("refined") or {}).get("assessors", {}),
            }
            for of in (result.metrics or {} for result in scored)
        )
        for scene in dict.fromkeys((row.scene, scored[0].scene)):
            found.setdefault(row.name, []).append(Measured(scene, metrics))
    return found


def reported_table(rows: Iterable[Row]) -> Table:
    """Return the published numbers of the sweep's methods beside what was measured, with the verdict."""
    rows = list(rows)
    methods = {row.name: job.result.method for row in rows for job in row.jobs}
    measured, registry = measured_rows(rows), load_registry()
    found = []
    for label, name in methods.items():
        if name in registry.methods:
            found += _rows_of(label, registry.methods.get(name), measured.get(label, ()))
    note = (
        f"It reproduces where the difference is at most {100 * TOLERANCE:.0f} %, two standard deviations over seeds or "
        "half a unit of the last digit published, whichever is largest."
    )
    return Table("reported", "Published against measured", COLUMNS, tuple(found), (note,))


def _rows_of(label: str, record: MethodRecord, measured: Sequence[Measured]) -> list[tuple[Entry, ...]]:
    """Return a row per published number; one that says why there is none where the record says so."""
    found = []
    for reported in record.reported:
        decided, value = verdict(reported, measured)
        texts = (label, reported.metric, reported.table, reported.dataset, reported.protocol, reported.source)
        numbers = (Entry(f"{reported.value:g}", reported.value), Entry(MISSING) if value is None else _number(value))
        found.append((*map(Entry, texts), *numbers, Entry(decided.value)))
    if record.unreported:
        missing = (Entry(MISSING),) * 3
        found.append(
            (Entry(label), *missing, Entry(record.unreported), Entry(record.paper), Entry(NONE_AVAILABLE), *missing[:2])
        )
    return found


def _number(value: float) -> Entry:
    return Entry(f"{value:.3f}", value)
