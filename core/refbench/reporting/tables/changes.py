"""The tables of ``refbench compare``: what changed between two sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.evaluation.metrics import METRICS, RANKED
from refbench.evaluation.ranking import MIN_BLOCKS
from refbench.reporting.tables.model import MISSING, Column, Document, Entry, Figure, Table, figure_entry, text_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench.engine.sweeps.changes import Change

NAMES = (text_column("scene", "scene"), text_column("method", "method"))
COST_FACTOR = 1.25
"""Cost is measured once per job, so there is no interval; smaller factors are called no change."""
COSTS = (("cpu_s", "CPU (s)", 1.0), ("wall_s", "wall (s)", 1.0), ("peak_memory_bytes", "peak memory (MiB)", 1 << 20))
NOTES = (
    "A is the first sweep or run, B the second; differences are B - A.",
    "identical: the same DSM byte for byte. paired: both DSMs on the pixels that are valid in both, with the 95 % "
    "interval of the difference on the same blocks; beyond noise where it does not hold 0. intervals: the scene's "
    "files differ, so each DSM is on its own domain; beyond noise where the 95 % intervals do not overlap. Fewer than "
    f"{MIN_BLOCKS} blocks cannot tell a difference from chance.",
    f"Cost has no interval: it is called a change from a factor of {COST_FACTOR:g} on.",
)


def change_tables(changes: Sequence[Change], first: str, second: str) -> Document:
    """Return the tables of the changes from the sweep called ``first`` (A) to that called ``second`` (B)."""
    tables = [_endings(changes), *(_metric_table(changes, key) for key in RANKED), _costs(changes)]
    return Document(f"{first} (A) against {second} (B)", tuple(table for table in tables if table.rows), NOTES)


def _named(change: Change) -> list[Entry]:
    return [Entry(change.scene), Entry(change.label)]


def _endings(changes: Sequence[Change]) -> Table:
    rows = []
    for change in changes:
        before, after = change.statuses
        if before != after:
            reason = next((job.result.reason for of in change.jobs for job in of if job.result.reason), None)
            rows.append((*_named(change), Entry(before), Entry(after), Entry(reason or "")))
    columns = (*NAMES, text_column("status_a", "A"), text_column("status_b", "B"), text_column("reason", "reason"))
    return Table("status_changes", "Jobs that end otherwise", columns, tuple(rows))


def _metric_table(changes: Sequence[Change], key: str) -> Table:
    metric = METRICS[key]
    rows = []
    for change in changes:
        if (found := change.metrics.get(key)) is not None:
            numbers = [figure_entry(key, Figure(found[side]), 3) for side in ("a", "b")]
            difference = figure_entry(key, Figure(found["value"], found["low"], found["high"]), 3)
            how = f"{change.basis}: {change.remark}" if change.remark else change.basis
            rows.append((*_named(change), *numbers, difference, Entry(_verdict(change, found)), Entry(how)))
    columns = (
        *NAMES,
        Column(f"{key}_a", "A"),
        Column(f"{key}_b", "B"),
        Column(f"{key}_difference", "B - A", metric.arrow),
        text_column(f"{key}_verdict", "verdict"),
        text_column(f"{key}_basis", "basis"),
    )
    return Table(f"change_{key}", metric.heading, columns, tuple(rows), stratum="all")


def _verdict(change: Change, found: dict[str, Any]) -> str:
    if change.basis == "identical":
        return "identical"
    if found["blocks"] < MIN_BLOCKS:
        return "too few blocks"
    return {"A": "worse", "B": "better", None: "no change beyond noise"}[found["better"]]


def _costs(changes: Sequence[Change]) -> Table:
    rows = []
    for change in changes:
        pairs = [change.cost(name) for name, _, _ in COSTS]
        if change.statuses != ("ok", "ok") or any(None in pair for pair in pairs):
            continue
        entries = []
        for (_, _, unit), (before, after) in zip(COSTS, pairs, strict=True):
            assert before is not None and after is not None  # looked at above
            entries += [_cost_entry(before / unit), _cost_entry(after / unit), _factor(before, after)]
        rows.append((*_named(change), *entries))
    columns = [
        column
        for name, label, _ in COSTS
        for column in (
            Column(f"{name}_a", f"{label}, A"),
            Column(f"{name}_b", "B"),
            text_column(f"{name}_change", "change"),
        )
    ]
    return Table("change_cost", "Cost", (*NAMES, *columns), tuple(rows))


def _cost_entry(value: float) -> Entry:
    return Entry(f"{value:,.1f}", value)


def _factor(before: float, after: float) -> Entry:
    if not before:
        return Entry(MISSING)
    factor = after / before
    changed = factor >= COST_FACTOR or factor <= 1 / COST_FACTOR
    return Entry(f"× {factor:.2f}" if changed else "no change")
