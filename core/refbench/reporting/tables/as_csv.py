"""Tables as one CSV with a line per number: for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from refbench.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench.reporting.tables.model import Column, Document, Entry, Table

HEADER = (
    "table",
    "domain",
    "stratum",
    "scene",
    "method",
    "metric",
    "unit",
    "better",
    "value",
    "low",
    "high",
    "spread",
    "mark",
    "text",
)
"""Numbers are as precise as they were computed, fractions in [0, 1]; ``text`` is of all but metrics."""
_FORMULA = tuple("=+-@＝＋－＠")  # spreadsheets take the wide ones, too


def comma_separated(document: Document) -> str:
    """Return all tables as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for table in document.tables:
        writer.writerows(_lines(table))
    return text.getvalue()


def _lines(table: Table) -> Iterator[list[str]]:
    names = [column.metric for column in table.columns]
    for row in table.rows:
        named = {name: row[names.index(name)].text if name in names else "" for name in ("scene", "method")}
        for column, entry in zip(table.columns, row, strict=True):
            if column.metric not in named:
                place = (table.name, table.domain or "", column.stratum or table.stratum or "", *named.values())
                yield [safe(text) for text in (*place, column.metric)] + _values(column, entry)


def _values(column: Column, entry: Entry) -> list[str]:
    metric = METRICS.get(column.metric)
    about = ["", ""] if metric is None else [metric.unit, metric.direction]
    numbers = [_number(value) for value in (entry.value, entry.low, entry.high, entry.spread)]
    return [*about, *numbers, entry.mark, "" if metric else safe(entry.text)]


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def safe(text: str) -> str:
    """Return text on one line that a spreadsheet does not take for a formula."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line
