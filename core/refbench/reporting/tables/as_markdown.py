"""Tables as Markdown (pipes aligned for reading as plain text)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refbench.reporting.tables.model import Column, Document, Entry, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&~$])")


def escape(text: str) -> str:
    r"""Return text on one line with everything that Markdown or HTML would read as markup escaped.

    >>> print(escape("a|b <i>"))
    a\|b &lt;i&gt;
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    # A backslash does not keep a tag in every dialect; entities do.
    return _SPECIAL.sub(_escaped, line)


def _escaped(match: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(match[1], f"\\{match[1]}")


def markdown(document: Document) -> str:
    """Return all tables as Markdown; the best value is bold, the second best in italics."""
    parts = [f"# {escape(document.title)}", *(_table(table) for table in document.tables)]
    parts.append("\n".join(f"- {escape(note)}" for note in document.all_notes("Bold", "Italics")))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    header = [escape(column.heading) for column in table.columns]
    rows = [header, *([_entry(*pair) for pair in zip(table.columns, row, strict=True)] for row in table.rows)]
    widths = [max(3, *(len(row[index]) for row in rows)) for index in range(len(header))]
    right = [column.is_number for column in table.columns]
    rule = [f"{'-' * (width - 1)}:" if is_right else "-" * width for width, is_right in zip(widths, right, strict=True)]
    lines = [_line(row, widths, right) for row in (header, rule, *rows[1:])]
    notes = [f"- {escape(note)}" for note in table.notes]
    return "\n".join((f"## {escape(table.title)}", "", *lines, *([""] if notes else []), *notes))


def _entry(column: Column, entry: Entry) -> str:
    if not column.is_number:
        return escape(entry.text)
    fence = {"best": "**", "second": "*"}.get(entry.mark, "")
    return f"{fence}{entry.text}{fence}"  # made of digits and brackets: there is nothing to escape


def _line(entries: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    def padded() -> Iterator[str]:
        for entry, width, is_right in zip(entries, widths, right, strict=True):
            yield entry.rjust(width) if is_right else entry.ljust(width)

    return f"| {' | '.join(padded())} |"
