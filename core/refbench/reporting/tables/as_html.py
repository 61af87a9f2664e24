"""Tables as one HTML page that opens from disk and loads nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refbench.reporting.tables.model import Column, Document, Entry, Table

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
thead th { border-bottom: 2px solid; text-align: left; vertical-align: bottom; }
tbody th { font-weight: normal; text-align: left; }
.number { text-align: right; white-space: nowrap; }
.second { text-decoration: underline; }
.interval { display: block; font-size: .8em; opacity: .75; }
ul { padding-left: 1.2rem; }
"""


def html(document: Document) -> str:
    """Return all tables as a page; the best value is bold, the second best underlined."""
    title = _text(document.title)
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>',
            f"<style>{STYLE}</style></head>",
            f"<body><h1>{title}</h1>",
            *(html_table(table) for table in document.tables),
            _notes(document.all_notes("Bold", "Underlined")),
            "</body></html>",
            "",
        )
    )


def html_table(table: Table) -> str:
    """Return one table as a fragment; the column that names the rows has the class ``name``."""
    metrics = [column.metric for column in table.columns]
    name = metrics.index("method") if "method" in metrics else 0
    head = "".join(_heading(column, number == name) for number, column in enumerate(table.columns))
    rows = (
        "".join(
            _entry(column, entry, number == name)
            for number, (column, entry) in enumerate(zip(table.columns, row, strict=True))
        )
        for row in table.rows
    )
    return "\n".join(
        (
            f'<div class="wide"><table id="{_text(table.name)}"><caption>{_text(table.title)}</caption>',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *(f"<tr>{row}</tr>" for row in rows),
            "</tbody></table></div>",
            _notes(table.notes),
        )
    )


def _heading(column: Column, is_name: bool) -> str:
    classes = " ".join(["number"] * column.is_number + ["name"] * is_name)
    kind = f' class="{classes}"' if classes else ""
    hint = f' title="{_text(column.formula)}"' if column.formula else ""
    return f'<th scope="col"{kind}{hint}>{_text(column.heading)}</th>'


def _entry(column: Column, entry: Entry, is_name: bool) -> str:
    text = _text(entry.text)
    if not column.is_number:
        if is_name:
            return f'<th scope="row" class="name">{text}</th>'
        return f'<th scope="row">{text}</th>' if column.metric == "scene" else f"<td>{text}</td>"
    number, bracket, rest = text.partition(" [")
    interval, _, unit = rest.partition("]")
    number += unit
    marked = {"best": f"<strong>{number}</strong>", "second": f'<span class="second">{number}</span>'}.get(
        entry.mark, number
    )
    # An interval stands below its number, so that a column is as wide as its widest number.
    below = f' <span class="interval">[{interval}]</span>' if bracket else ""
    value = "" if entry.value is None else f' data-value="{float(entry.value):.9g}"'
    return f'<td class="number"{value}>{marked}{below}</td>'


def _notes(notes: tuple[str, ...]) -> str:
    return f"<ul>{''.join(f'<li>{_text(note)}</li>' for note in notes)}</ul>" if notes else ""


def _text(text: str) -> str:
    """Return text escaped for content and attributes, without control characters, which HTML forbids."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))
