"""Plain columns for the listing verbs, which must stay light."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a left-aligned table; columns are two spaces apart, the last one is as long as it is."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(header))]
    return "\n".join(
        "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return lines ``  key   value`` with aligned values; pairs without a value are left out."""
    kept = [(key, value) for key, value in pairs if value]
    width = max((len(key) for key, _ in kept), default=0)
    return "\n".join(f"  {key.ljust(width)}  {value}" for key, value in kept)
