"""The tables of a sweep as data: accuracy, strata, edges, cost, means over scenes, and what did not end ok."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.engine.scoring.score import COREGISTRATION
from refbench.engine.sweeps.scene_means import scene_means
from refbench.engine.sweeps.store import SUITE_FILE
from refbench.evaluation.comparison import DOMAINS
from refbench.evaluation.metrics import METRICS, SHAPE, metric, shown_in
from refbench.evaluation.ranking import MIN_BLOCKS
from refbench.evaluation.shift import Shift
from refbench.files.yaml_text import parse_yaml
from refbench.reporting.reported import reported_table
from refbench.reporting.tables.cost import cost_table
from refbench.reporting.tables.depth_and_view_tables import further_tables
from refbench.reporting.tables.model import (
    MISSING,
    Column,
    Document,
    Entry,
    Figure,
    Table,
    figure_entries,
    marks,
    metric_column,
    stratum_words,
    text_column,
)
from refbench.reporting.tables.rows import INITIAL, read_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from refbench.reporting.tables.rows import Row, SweepData

NOTES = (
    "Residual e = DSM - reference, metres. Arrows: the better direction. Completeness: each DSM's own fraction of the "
    "pixels on which the reference counts.",
    "[low, high]: 95 % interval by bootstrap of blocks of 64 pixels. ± standard deviation over seeds, where there are "
    "several; the value is their mean.",
    "Best and second best are marked where they are better than all others, the initial DSM among them, in the paired "
    "difference on the same blocks; the rank is one more than the number of methods that are better beyond noise, so "
    "methods that tie share it (=). Fewer than "
    f"{MIN_BLOCKS} blocks cannot tell a difference from chance. Nothing is corrected for the number of comparisons.",
)
DOMAIN_TITLES = {
    "common": "common domain: the pixels on which every compared DSM has a height",
    "own": "own domain: each DSM on its own pixels, so rows are not on the same ground and nothing is marked",
}


NAME_COLUMNS = (text_column("scene", "scene"), text_column("method", "method"))


def sweep_tables(
    out: Path, *, strata: Sequence[str] = (), metrics: Sequence[str] = (), domains: Sequence[str] = ()
) -> Document:
    """Return all tables of a sweep.

    Parameters
    ----------
    out
        Folder of the sweep.
    strata
        Of the accuracy tables, one table each; empty: those of the suite's protocol that there are.
    metrics
        Keys of metrics for their columns; empty: those whose records say that they are shown in tables.
    domains
        ``common``, ``own`` or both; empty: those of the suite's protocol.

    Raises
    ------
    InputError
        ``out`` holds no sweep; an unknown stratum or metric.
    """
    keys = tuple(metric(key).key for key in metrics) or shown_in("table")
    data = read_data(out)
    known = data.strata() or ["all"]
    content = _suite(out)
    protocol = content.get("protocol") or {}
    domains = domains or tuple(protocol.get("domain") or DOMAINS)
    strata = strata or [name for name in protocol.get("strata") or ("all",) if name in known] or ["all"]
    if unknown := [name for name in strata if name not in known]:
        raise InputError(f"There is no stratum {unknown[0]!r} in {out}; there are {', '.join(known)}.")
    tables = [accuracy_table(data, domain, stratum, keys) for domain in domains for stratum in strata]
    if "common" in domains:
        tables += [means_table(data, stratum, keys) for stratum in strata]
        tables += [strata_table(data, known), edges_table(data)]
    tables += further_tables(data.rows)
    tables += [cost_table(data.rows, data.comparisons), endings_table(data), reported_table(data.rows)]
    return Document(
        f"Benchmark {content.get('name') or out.resolve().name}",
        tuple(table for table in tables if table.rows),
        (
            *NOTES,
            f"Other grids are resampled to the reference's: {protocol.get('resampling', 'bilinear')}.",
            *_alignment(data),
        ),
    )


def _alignment(data: SweepData) -> Iterable[str]:
    """Say what was coregistered, scene by scene."""
    moved = {
        scene: Shift.of(found[COREGISTRATION]) for scene, found in data.comparisons.items() if found.get(COREGISTRATION)
    }
    if not moved:
        yield "No DSM was coregistered."
    for scene, shift in moved.items():
        yield (
            f"{scene}: the initial DSM was laid on the reference once (Nuth and Kääb, then robust least squares over "
            f"{shift.samples:,} pixels: NMAD {shift.nmad_before:.3f} -> {shift.nmad_after:.3f} m), and every DSM moved "
            f"by {shift}."
        )


def _suite(out: Path) -> dict[str, Any]:
    """Return what the sweep kept of its suite; empty where it kept nothing."""
    path = out / SUITE_FILE
    content = parse_yaml(path.read_text(encoding="utf-8")) if path.is_file() else None
    return content if isinstance(content, dict) else {}


def _named(rows: Iterable[Row]) -> list[list[Entry]]:
    return [[Entry(row.scene) for row in rows], [Entry(row.name) for row in rows]]


def accuracy_table(data: SweepData, domain: str, stratum: str, keys: Sequence[str]) -> Table:
    """Return the accuracy of every method on every scene, completeness and n beside it."""
    rows = data.rows
    columns = [*NAME_COLUMNS, text_column("status", "status")]
    entries = [*_named(rows), [Entry(row.status or MISSING) for row in rows]]
    for key in dict.fromkeys(("completeness_valid", *(key for key in keys if key != "n"), "n")):
        columns.append(metric_column(key))
        figures = [row.figure(domain, stratum, key) for row in rows]
        if domain == "common":
            figures = _marked(data, stratum, key, figures)
        entries.append(figure_entries(key, figures))
    columns.append(Column("blocks", "blocks", formula="number of blocks behind the intervals"))
    entries.append([_blocks_entry(row, domain, stratum) for row in rows])
    if domain == "common":
        columns.append(Column("rank", "rank (MAE)", "↓", formula="1 + number of methods with less MAE beyond noise"))
        entries.append([_rank_entry(data, row, stratum) for row in rows])
    return Table(
        f"accuracy_{domain}_{stratum}",
        f"Accuracy, {stratum_words(stratum)}, {DOMAIN_TITLES[domain]}",
        tuple(columns),
        tuple(zip(*entries, strict=True)),
        tuple(_domain_notes(data)) if domain == "common" else (),
        domain,
        stratum,
    )


def _blocks_entry(row: Row, domain: str, stratum: str) -> Entry:
    interval = row.found.get(domain, {}).get("intervals", {}).get(stratum, {}).get("mae")
    return Entry(MISSING) if interval is None else Entry(str(interval["blocks"]), interval["blocks"])


def _rank_entry(data: SweepData, row: Row, stratum: str) -> Entry:
    ranks = data.comparisons[row.scene].get("ranks", {}).get(stratum, {}).get("mae", {})
    if row.label not in ranks:
        return Entry(MISSING)
    found = ranks[row.label]
    return Entry(f"{found['rank']}{'=' if found['tied_with'] else ''}", found["rank"])


def _marked(data: SweepData, stratum: str, key: str, figures: Sequence[Figure]) -> list[Figure]:
    """Return the figures of all rows with best and second best of every scene marked."""
    given: dict[tuple[str, str | None], Any] = {}
    for scene, found in data.comparisons.items():
        entries = found.get("differences", {}).get(stratum, {}).get(key, ())
        labels = [row.label for row in data.rows if row.scene == scene and row.label not in found.get("left_out", {})]
        labels = [label for label in labels if label is None or label in found.get("methods", {})]
        given |= {(scene, label): mark for label, mark in marks(entries, labels).items()}
    return [
        Figure(figure.value, figure.low, figure.high, figure.spread, given.get((row.scene, row.label), ""))
        for row, figure in zip(data.rows, figures, strict=True)
    ]


def _domain_notes(data: SweepData) -> Iterable[str]:
    for scene, found in data.comparisons.items():
        if found["reason"] is not None:
            yield f"{scene}: not compared: {found['reason']}"
            continue
        for label, reason in found["left_out"].items():
            yield f"{scene}: {label or INITIAL} is left out of the common domain: {reason}"
        total, common = found["n_ref_valid"], found["n_common"]
        if total and common < total / 2:
            least = min(found["methods"], key=lambda label: _completeness(found["methods"][label]))
            yield (
                f"{scene}: the common domain holds {100 * common / total:.0f} % of the reference's pixels only; "
                f"least complete is {least}."
            )


def _completeness(row: Mapping[str, Any]) -> float:
    return float(row["own"].get("all", {}).get("completeness_valid") or 0.0)


def means_table(data: SweepData, stratum: str, keys: Sequence[str]) -> Table:
    """Return the means over scenes of the methods that have a result on every scene; empty for a single scene."""
    wanted = tuple(dict.fromkeys(("completeness_valid", *(key for key in keys if METRICS[key].unit != "count"))))
    means = scene_means(data.out, data.comparisons, stratum, wanted)
    title = f"Means over {len(means.scenes)} scenes, {stratum_words(stratum)}, common domains"
    if len(means.scenes) < 2:
        return Table(f"means_{stratum}", title, (), ())
    labels = list(means.rows)
    entries = [[Entry(INITIAL if label is None else label) for label in labels]]
    for key in wanted:
        found = marks(means.differences[key], labels)
        figures = [Figure(**means.rows[label][key], mark=found.get(label, "")) for label in labels]
        entries.append(figure_entries(key, figures))
    notes = [f"Every scene counts alike: {', '.join(means.scenes)}. The intervals are for these scenes."]
    notes += [
        f"{label} has no mean: it has no comparable result on {', '.join(scenes)}, and means over unequal sets of "
        "scenes are not comparable."
        for label, scenes in means.lacking.items()
    ]
    columns = (NAME_COLUMNS[1], *(metric_column(key) for key in wanted))
    # Where nobody is complete, the row says that there is no mean at all.
    rows = tuple(zip(*entries, strict=True)) or ((Entry("no method has all scenes"), *[Entry(MISSING)] * len(wanted)),)
    return Table(f"means_{stratum}", title, columns, rows, tuple(notes), "common", stratum)


def strata_table(data: SweepData, strata: Sequence[str]) -> Table:
    """Return MAE per stratum on the common domain."""
    shown = [name for name in strata if name != "all"]
    rows = [row for row in data.rows if row.found and row.found["common"]]
    places = [index for index, row in enumerate(data.rows) if row.found and row.found["common"]]
    entries = _named(rows)
    for stratum in shown:
        figures = [row.figure("common", stratum, "mae") for row in data.rows]
        marked = _marked(data, stratum, "mae", figures)
        entries.append(figure_entries("mae", [marked[place] for place in places], brief=True))
    columns = (*NAME_COLUMNS, *(metric_column("mae", label=stratum_words(name), stratum=name) for name in shown))
    return Table(
        "strata",
        "MAE per stratum (m), common domain",
        columns,
        tuple(zip(*entries, strict=True)) if shown else (),
        ("With intervals: refbench table --stratum NAME; the CSV and JSON forms hold them all.",),
        "common",
    )


def edges_table(data: SweepData) -> Table:
    """Return slopes, normals, edges and roofs on the common domain."""
    rows = [row for row in data.rows if row.found and row.found["common"].get("shape")]
    shape = [row.values("common", "shape") for row in rows]
    keys = [key for key in shown_in("table", SHAPE) if any(values.get(key) is not None for values in shape)]
    entries = _named(rows)
    for key in keys:
        entries.append(figure_entries(key, [row.figure("common", "shape", key) for row in rows]))
    columns = (*NAME_COLUMNS, *(metric_column(key, label=_short(key)) for key in keys))
    notes = tuple(f"{_short(key)}: {METRICS[key].formula}." for key in keys)
    return Table("edges", "Edges and shape, common domain", columns, tuple(zip(*entries, strict=True)), notes, "common")


def _short(key: str) -> str:
    metric = METRICS[key]
    unit = f" ({metric.unit})" if metric.unit in ("m", "deg") else ""
    return f"{metric.short or metric.label}{unit}"


def endings_table(data: SweepData) -> Table:
    """Return what did not end ok, or was not scored, with the reason."""
    found = []
    for row in data.rows:
        for job in row.jobs:
            reason = job.result.reason if not job.is_ok else job.result.metrics_reason
            if not job.is_ok or job.result.metrics is None:
                texts = (row.scene, row.name, str(job.seed), job.result.status.value, reason or "")
                found.append(tuple(Entry(text) for text in texts))
    columns = (
        *NAME_COLUMNS,
        text_column("seed", "seed"),
        text_column("status", "status"),
        text_column("reason", "reason"),
    )
    return Table("endings", "Not scored", columns, tuple(found))
