"""Tables of what is scored besides the DSM: depth maps, rendered views, what assessors found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.engine.scoring.assess import KEY
from refbench.evaluation.metrics import DEPTH, VIEWS, shown_in
from refbench.reporting.tables.model import (
    Column,
    Entry,
    Figure,
    Table,
    figure_entries,
    metric_column,
    text_column,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refbench.evaluation.metrics.record import Metric
    from refbench.reporting.tables.rows import Row

KINDS: Mapping[str, tuple[Metric, ...]] = {"depth": DEPTH, "views": VIEWS}
TITLES = {
    "depth": "Depth maps in their cameras, mean over views and seeds; nothing is scaled or shifted",
    "views": "Rendered views against images, mean over held-out views and seeds, covered pixels",
}
INITIAL_DEPTH = "initial depth"
MISSING = "–"
NAME_COLUMNS = (text_column("scene", "scene"), text_column("method", "method"), Column("views", "views"))


def further_tables(rows: Sequence[Row]) -> list[Table]:
    """Return the tables of depth maps, views and every assessor; empty ones have no rows."""
    return [_of_views(rows, "depth"), _of_views(rows, "views"), *_of_assessors(rows)]


def _of_views(rows: Sequence[Row], kind: str) -> Table:
    found: list[tuple[str, str, list[Mapping[str, Any]]]] = []
    for row in rows:
        for name, key in ((INITIAL_DEPTH, f"{kind}_input"), (row.name, kind)):
            scores = [s for job in row.jobs for s in ((job.result.metrics or {}).get(key) or {}).values()]
            if scores and (row.scene, name) not in {(scene, other) for scene, other, _ in found}:
                found.append((row.scene, name, scores))
    keys = [
        key for key in shown_in("table", KINDS[kind]) if any(s.get(key) is not None for _, _, of in found for s in of)
    ]
    entries = [[Entry(scene) for scene, _, _ in found], [Entry(name) for _, name, _ in found]]
    entries.append([Entry(str(len(of)), len(of)) for _, _, of in found])
    for key in keys:
        entries.append(figure_entries(key, [Figure(_mean(of, key)) for _, _, of in found]))
    columns = (*NAME_COLUMNS, *(metric_column(key) for key in keys))
    notes = ("Methods that give other views are not on the same ground: mind the column views.",) if found else ()
    return Table(kind, TITLES[kind], columns, tuple(zip(*entries, strict=True)), notes)


def _mean(of: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [scores[key] for scores in of if scores.get(key) is not None]
    return sum(values) / len(values) if values else None


def _of_assessors(rows: Sequence[Row]) -> list[Table]:
    found: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for row in rows:
        for job in row.jobs:
            scores = ((job.result.metrics or {}).get("refined") or {}).get(KEY) or {}
            for name, of in scores.items():
                seed = f", seed {job.seed}" if len(row.jobs) > 1 else ""
                found.setdefault(name, []).append((row.scene, f"{row.name}{seed}", of))
    return [_assessor(name, of) for name, of in found.items()]


def _assessor(name: str, of: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Table:
    keys = list(dict.fromkeys(key for _, _, scores in of for key in scores))
    entries = [[Entry(scene) for scene, _, _ in of], [Entry(method) for _, method, _ in of]]
    for key in keys:
        entries.append([Entry(MISSING) if (v := s.get(key)) is None else Entry(f"{v:.4g}", v) for _, _, s in of])
    columns = (*NAME_COLUMNS[:2], *(Column(key, key.replace("_", " ")) for key in keys))
    return Table(f"assessor_{name}", f"Assessor {name}", columns, tuple(zip(*entries, strict=True)))
