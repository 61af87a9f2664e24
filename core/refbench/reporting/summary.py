"""What a run prints at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from refbench.engine.job.result import Status
from refbench.engine.scoring.assess import KEY
from refbench.evaluation.metrics import DEPTH, METRICS, VIEWS, shown_in
from refbench.registry.registry import load_registry
from refbench.reporting.tables.model import stratum_words
from refbench.reporting.terminal_console import console as terminal

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.engine.job.result import Result
    from refbench.evaluation.metrics.record import Metric

_ARROWS = {True: "↑", False: "↓", None: ""}
KINDS: tuple[tuple[str, str, tuple[Metric, ...]], ...] = (
    ("depth", "Depth maps", DEPTH),
    ("views", "Rendered views", VIEWS),
)


def number(value: Any, key: str) -> str:  # noqa: ANN401  # a metric or None
    """Return a metric as text: fractions in percent, metres with three decimals, a dash where it is missing."""
    return METRICS[key].text(value)


def change(before: Any, after: Any) -> str:  # noqa: ANN401  # metrics or None
    """Return the relative change of an error, such as ``-23 %``."""
    if before is None or after is None or before == 0:
        return ""
    return f"{100 * (after / before - 1):+.0f} %"


def print_summary(result: Result, folder: Path) -> None:
    """Print status, scores, warnings and where the files lie."""
    console = terminal(soft_wrap=True)
    if result.status is not Status.OK:
        console.print(Text.assemble((result.status.value, "bold red"), f": {result.reason}"))
        # What cannot run here says why in its reason; the log helps where something went wrong.
        told = () if result.status in (Status.UNSUPPORTED, Status.SKIPPED) else result.log_tail[-8:]
        for line in told:
            console.print(f"  {line}")
    if ((result.metrics or {}).get("refined") or {}).get("all"):
        console.print(_table(result))
        if (by_mask := strata_table(result.metrics or {})) is not None:
            console.print(by_mask)
    elif result.status is Status.OK and result.metrics_reason:
        console.print(f"DSM not scored: {result.metrics_reason}")
    for table in view_tables(result.metrics or {}):
        console.print(table)
    for name, table in assessor_tables(result.metrics or {}).items():
        console.print(table)
        console.print(f"{name}: {load_registry().assessors.get(name).summary}")
    for bridge in result.bridges:
        console.print(f"bridge: {bridge}")
    for warning in result.warnings:
        console.print(f"warning: {warning}")
    for remark in result.notes.get("remarks") or ():
        console.print(f"note: {remark}")
    cost = result.cost
    if cost.cpu_s is not None and cost.wall_s is not None and cost.peak_memory_bytes is not None:
        console.print(
            f"{cost.wall_s:.1f} s, {cost.cpu_s:.1f} CPU s, {cost.peak_memory_bytes / (1 << 20):,.0f} MiB peak"
        )
    for name in (*result.outputs.values(), "result.json", "report.html"):
        if (folder / name).exists():
            console.print(f"  {folder / name}")


def strata_table(metrics: dict[str, Any]) -> Table | None:
    """Return the MAE of the strata that masks make (building, terrain ...), None where there was no mask.

    Classes of slope are left to the page: they are there for every reference.
    """
    before, after = (metrics.get(which) or {} for which in ("input", "refined"))
    names = [
        name
        for name, scores in after.items()
        if name not in ("all", KEY)
        and not name.startswith("slope_")
        and isinstance(scores, dict)
        and scores.get("mae") is not None
    ]
    if not names:
        return None
    table = Table(title="MAE by stratum", title_justify="left")
    for heading in ("", "pixels", "input", "refined", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in names:
        values = [(of.get(name) or {}).get("mae") for of in (before, after)]
        texts = [number(value, "mae") for value in values]
        table.add_row(stratum_words(name), f"{after[name]['n']:,}", *texts, change(*values))
    return table


def assessor_tables(metrics: dict[str, Any]) -> dict[str, Table]:
    """Return assessor -> its scores, a column for each DSM that ``metrics`` holds scores of."""
    found = {which: scores for which, of in metrics.items() if isinstance(of, dict) and (scores := of.get(KEY))}
    tables = {}
    for name in dict.fromkeys(name for scores in found.values() for name in scores):
        table = Table(title=name, title_justify="left")
        for heading in ("", *found):
            table.add_column(heading, justify="left" if not heading else "right")
        given = [scores.get(name) or {} for scores in found.values()]
        arrows = {score.key: _ARROWS[score.higher_is_better] for score in load_registry().assessors.get(name).scores}
        for key in dict.fromkeys(key for values in given for key in values):
            entries = ("–" if (value := values.get(key)) is None else f"{value:.4g}" for values in given)
            table.add_row(f"{key} {arrows.get(key, '')}".rstrip(), *entries)
        tables[name] = table
    return tables


def view_tables(metrics: dict[str, Any]) -> list[Table]:
    """Return the scores of depth maps and of rendered views, a row each and their mean."""
    tables = []
    for kind, title, records in KINDS:
        of = metrics.get(kind) or {}
        if not of:
            continue
        before = metrics.get(f"{kind}_input") or {}
        shown = shown_in("compared" if before else "summary", records)  # more do not fit a terminal
        keys = [key for key in shown if any(scores.get(key) is not None for scores in of.values())]
        table = Table(title=title, title_justify="left")
        table.add_column("view")
        paired = [key for key in keys if before and key != "completeness_valid"]
        for key in keys:
            if key in paired:
                table.add_column(f"{METRICS[key].heading}\ninput", justify="right")
            table.add_column(
                f"{METRICS[key].heading}\nrefined" if key in paired else METRICS[key].heading, justify="right"
            )
        for name in (*of, *(["mean"] if len(of) > 1 else [])):
            row = []
            for key in keys:
                row += [number(_of_view(before, name, key), key)] if key in paired else []
                row.append(number(_of_view(of, name, key), key))
            table.add_row(Text(name), *row)
        tables.append(table)
    return tables


def _of_view(of: dict[str, Any], name: str, key: str) -> float | None:
    """Return a score of one view, or of ``mean`` over those that have it."""
    if name in of:
        value: float | None = of[name].get(key)
        return value
    values = [scores[key] for scores in of.values() if scores.get(key) is not None]
    return sum(values) / len(values) if values and name == "mean" else None


def _table(result: Result) -> Table:
    assert result.metrics is not None  # the caller looked
    before = (result.metrics.get("input") or {}).get("all") or {}
    after = (result.metrics.get("refined") or {}).get("all") or {}
    table = Table(
        title=Text(f"{result.method} on {result.scene}: {after.get('n', 0):,} common pixels"), title_justify="left"
    )
    for heading in ("", "input", "refined", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for key in shown_in("summary"):
        delta = change(before.get(key), after.get(key)) if METRICS[key].direction == "lower" else ""
        table.add_row(METRICS[key].heading, number(before.get(key), key), number(after.get(key), key), delta)
    return table
