"""The page of a single run: one row, its surfaces, how it was made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from refbench.engine.scoring.assess import KEY
from refbench.evaluation.metrics import METRICS, shown_in
from refbench.formats.raster import open_written_dsm
from refbench.reporting.page.model import Page, Run
from refbench.reporting.page.surfaces import REFERENCE, scene_view
from refbench.reporting.tables.model import (
    Column,
    Entry,
    Figure,
    Table,
    figure_entries,
    metric_column,
    stratum_words,
    text_column,
)
from refbench.reporting.tables.rows import INITIAL
from refbench.reporting.words import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench.contracts.raster import DSM
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.engine.job.result import Result

PLACES = {"depth": "Depth maps", "depth_input": "Initial depth maps", "views": "Rendered views"}
NOTES = (
    "Residual = evaluated - reference, metres; input and refined on the pixels where reference, input and refined are "
    "valid. Arrows: the better direction. [low, high]: 95 % interval by bootstrap of blocks of 64 pixels.",
    "Hillshades share one height tint; pale violet is NoData. Error maps: blue too low, red too high.",
)


def run_page(folder: Path, result: Result, scene: Scene | None, command: str) -> Page:
    """Return the page of one result; see ``report.write_report``."""
    view = None if scene is None else scene_view(result.scene, _sources(folder, result, scene))
    return Page(
        f"{result.method} on {result.scene}",
        f"seed {result.seed} · {result.created} · refbench {result.refbench_version}",
        tuple(table for table in result_tables(result) if table.rows),
        NOTES if result.metrics else (),
        () if view is None else (view,),
        runs=(as_run(result, f"{result.method} on {result.scene}", command),),
        details=(
            (f"Configuration ({result.config_source})", _json(result.config)),
            ("Manifest", _json(result.manifest)),
        ),
    )


def _sources(folder: Path, result: Result, scene: Scene) -> dict[str, RasterSource[DSM]]:
    found: dict[str, RasterSource[DSM]] = {}
    if scene.dsm is not None:
        found[INITIAL] = scene.dsm
    if "dsm" in result.outputs and (folder / result.outputs["dsm"]).is_file():
        found[result.method] = open_written_dsm(folder / result.outputs["dsm"])
    if result.method not in found:
        return {}
    if scene.reference is not None and scene.reference.dsm is not None:
        found[REFERENCE] = scene.reference.dsm
    return found


def result_tables(result: Result) -> list[Table]:
    """Return accuracy, strata, depth maps, views and cost of one result, as far as there are any."""
    metrics = result.metrics or {}
    surfaces = {INITIAL: metrics.get("input") or {}, result.method: metrics.get("refined") or {}}
    rows = {name: scores for name, scores in surfaces.items() if scores.get("all")}
    places = [_places(metrics, key) for key in PLACES]
    return [_accuracy(rows), _strata(rows), *_assessors(surfaces), *places, _cost(result)]


def _accuracy(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    entries = [[Entry(name) for name in rows]]
    for key in shown_in("page"):
        figures = []
        for scores in rows.values():
            interval = ((scores.get("intervals") or {}).get("all") or {}).get(key) or {}
            figures.append(Figure((scores.get("all") or {}).get(key), interval.get("low"), interval.get("high")))
        entries.append(figure_entries(key, figures))
    columns = (text_column("method", "surface"), *(metric_column(key) for key in shown_in("page")))
    return Table("accuracy", "Accuracy, all pixels", columns, tuple(zip(*entries, strict=True)) if rows else ())


def _strata(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    strata: dict[str, None] = {}
    for scores in rows.values():
        strata |= dict.fromkeys(
            k for k, v in scores.items() if k != "all" and isinstance(v, dict) and "mae" in v and k != KEY
        )
    entries = [[Entry(stratum_words(name)) for name in strata]]
    columns = [text_column("stratum", "stratum")]
    for key in shown_in("strata"):
        for name, scores in rows.items():
            values = [Figure((scores.get(stratum) or {}).get(key)) for stratum in strata]
            column = metric_column(key)
            columns.append(Column(column.metric, f"{column.label}, {name}", column.arrow, formula=column.formula))
            entries.append(figure_entries(key, values))
    return Table("strata", "Per stratum", tuple(columns), tuple(zip(*entries, strict=True)) if strata else ())


def _assessors(surfaces: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return a table for every assessor that was asked: its scores of each surface."""
    found = {name: scores[KEY] for name, scores in surfaces.items() if scores.get(KEY)}
    tables = []
    for assessor in dict.fromkeys(name for scores in found.values() for name in scores):
        given = {name: scores.get(assessor) or {} for name, scores in found.items()}
        keys = dict.fromkeys(key for values in given.values() for key in values)
        entries = [[Entry(key) for key in keys]]
        for values in given.values():
            entries.append([Entry("–") if (v := values.get(k)) is None else Entry(f"{v:.4g}", v) for k in keys])
        columns = (text_column("score", "score"), *(Column(name, name) for name in given))
        tables.append(Table(f"assessor_{assessor}", f"Assessor {assessor}", columns, tuple(zip(*entries, strict=True))))
    return tables


def _places(metrics: Mapping[str, Any], kind: str) -> Table:
    """Return the scores of depth maps or views, for methods without a DSM."""
    of: Mapping[str, Mapping[str, float]] = metrics.get(kind) or {}
    keys = list(dict.fromkeys(key for scores in of.values() for key in scores))
    columns = (text_column("view", "view"), *(_any_column(key) for key in keys))
    rows = tuple(
        (Entry(view), *(Entry("–") if scores.get(k) is None else Entry(_digits(scores[k]), scores[k]) for k in keys))
        for view, scores in of.items()
    )
    return Table(kind, PLACES[kind], columns, rows)


def _digits(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _any_column(key: str) -> Column:
    return metric_column(key) if key in METRICS else Column(key, key.replace("_", " "))


def _cost(result: Result) -> Table:
    columns = (text_column("phase", "phase"), Column("wall_s", "wall (s)", "↓"), Column("cpu_s", "CPU (s)", "↓"))
    rows = [(phase.name, phase.wall_s, phase.cpu_s) for phase in result.phases]
    if result.cost.wall_s is not None and result.cost.cpu_s is not None:
        rows.append(("whole process", result.cost.wall_s, result.cost.cpu_s))
    peak = result.cost.peak_memory_bytes
    notes = () if peak is None else (f"Peak memory {peak / (1 << 20):,.0f} MiB.",)
    entries = tuple((Entry(name), Entry(f"{wall:.2f}", wall), Entry(f"{cpu:.2f}", cpu)) for name, wall, cpu in rows)
    return Table("cost", "Cost", columns, entries, notes)


def as_run(result: Result, name: str, command: str) -> Run:
    """Return how a job ended, what it noted and how to run it again."""
    facts = [("weights", result.weights or "")] if result.weights else []
    facts += [("bridge", bridge) for bridge in result.bridges]
    facts += [
        (key.replace("_", " "), in_words(value)) for key, value in result.notes.items() if value and key != "weights"
    ]
    if result.metrics is None and result.metrics_reason and not result.reason:
        facts.append(("not scored", result.metrics_reason))
    return Run(
        name,
        result.status.value,
        result.status.value == "ok",
        command,
        result.reason or "",
        "\n".join(result.log_tail),
        tuple(facts),
        tuple(result.warnings),
    )


def _json(value: Any) -> str:  # noqa: ANN401  # any JSON value
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)
