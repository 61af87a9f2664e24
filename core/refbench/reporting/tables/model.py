"""Tables before they are written in a format: entries with value, interval, spread and mark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from refbench.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

Mark = Literal["", "best", "second"]
MISSING = "–"
SMALL = 0.1
"""Columns with a value below it are written with three decimals, others with two."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its text, and for numbers what the text was made of."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    """Standard deviation over seeds."""
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``metric`` is a key of ``METRICS`` or of the cost, or names a text column."""

    metric: str
    label: str
    arrow: str = ""
    is_number: bool = True
    formula: str = ""
    stratum: str | None = None
    """Where the column is of another stratum than its table."""

    @property
    def heading(self) -> str:
        """Label and arrow."""
        return f"{self.label} {self.arrow}".rstrip()


@dataclass(frozen=True, slots=True)
class Table:
    """One table. The first columns are text: scene and method, or what else names a row."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    domain: str | None = None
    stratum: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Tables with a title and the notes that hold for all."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()

    def all_notes(self, best: str, second: str) -> tuple[str, ...]:
        """Return the notes, with how the best and the second best are shown where an entry is marked."""
        is_marked = any(entry.mark for table in self.tables for row in table.rows for entry in row)
        return (*self.notes, *([f"{best}: best. {second}: second best."] if is_marked else []))


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its uncertainty, before a column decides on its decimals."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    mark: Mark = field(default="")


def text_column(name: str, label: str) -> Column:
    """Return a column of text."""
    return Column(name, label, is_number=False)


def metric_column(key: str, *, label: str | None = None, stratum: str | None = None) -> Column:
    """Return the column of a metric; ``label`` replaces its own label."""
    metric = METRICS[key]
    heading = metric.heading.removesuffix(metric.arrow).rstrip() if label is None else label
    return Column(key, heading, metric.arrow, formula=metric.formula, stratum=stratum)


def figure_entries(key: str, figures: Sequence[Figure], *, brief: bool = False) -> list[Entry]:
    """Return the entries of a metric's column, such as ``1.23 ± 0.02 [1.10, 1.37]``; ``brief`` writes values alone."""
    known = [abs(figure.value) for figure in figures if figure.value]
    decimals = 3 if known and min(known) < SMALL else 2
    return [figure_entry(key, figure, decimals, brief=brief) for figure in figures]


def figure_entry(key: str, figure: Figure, decimals: int, *, brief: bool = False) -> Entry:
    """Return one entry; see ``figure_entries``."""
    values = (figure.value, figure.low, figure.high, figure.spread, figure.mark)
    if figure.value is None:
        return Entry(MISSING)
    metric = METRICS[key]
    if brief:
        return Entry(metric.text(figure.value, decimals), *values)
    is_fraction = metric.unit == "fraction"

    def number(value: float) -> str:
        return metric.text(value, decimals).removesuffix(" %")

    text = number(figure.value)
    if figure.spread:
        text += f" ± {number(figure.spread)}"
    if figure.low is not None and figure.high is not None:
        text += f" [{number(figure.low)}, {number(figure.high)}]"
    return Entry(f"{text} %" if is_fraction else text, *values)


def stratum_words(stratum: str) -> str:
    """Return a stratum as words.

    >>> stratum_words("slope_10_25_pct"), stratum_words("slope_90_inf_pct"), stratum_words("building_border")
    ('slope 10–25 %', 'slope ≥ 90 %', 'building border')
    """
    if stratum == "all":
        return "all pixels"
    kind, *edges = stratum.removesuffix("_pct").split("_")
    if kind == "slope" and len(edges) == 2 and stratum.endswith("_pct"):
        return f"slope ≥ {edges[0]} %" if edges[1] == "inf" else f"slope {edges[0]}–{edges[1]} %"
    return stratum.replace("_", " ")


def marks(differences: Sequence[Mapping[str, Any]], labels: Sequence[str | None]) -> dict[str | None, Mark]:
    """Return who is best and second best, where that is beyond noise.

    The best is better than every other label in its paired difference; the second best than every other but the best.
    """
    better: dict[str | None, set[str | None]] = {label: set() for label in labels}
    for entry in differences:
        if entry["better"] is not None and {entry["first"], entry["second"]} <= set(labels):
            worse = "first" if entry["better"] == "second" else "second"
            better[entry[entry["better"]]].add(entry[worse])
    found: dict[str | None, Mark] = {}
    left = set(labels)
    names: tuple[Mark, ...] = ("best", "second")
    for name in names:
        winner = [label for label in labels if label in left and left - {label} and left - {label} <= better[label]]
        if not winner:
            break
        found[winner[0]] = name
        left -= {winner[0]}
    return found
