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


_STRATA = {
    "all": "all pixels",
    "building_undilated": "building, mask as given",
    "terrain_nowater": "terrain without water",
    "terrain_noforest": "terrain without forest",
    "terrain_nowater_noforest": "terrain without water and forest",
}
_SLOPE_UNITS = {"pct": " %", "deg": "°"}


def stratum_words(stratum: str) -> str:
    """Return a stratum as people say it.

    >>> [stratum_words(f"slope_{classes}") for classes in ("0_10_pct", "10_25_pct", "90_inf_pct", "25_50_deg")]
    ['slope below 10 %', 'slope 10 to 25 %', 'slope above 90 %', 'slope 25 to 50°']
    >>> stratum_words("building_border"), stratum_words("terrain_nowater")
    ('building border', 'terrain without water')
    """
    kind, *parts = stratum.split("_")
    if kind == "slope" and len(parts) == 3 and parts[2] in _SLOPE_UNITS:
        low, high, unit = parts[0], parts[1], _SLOPE_UNITS[parts[2]]
        if high == "inf":
            return f"slope above {low}{unit}"
        return f"slope below {high}{unit}" if low == "0" else f"slope {low} to {high}{unit}"
    return _STRATA.get(stratum, stratum.replace("_", " "))


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
