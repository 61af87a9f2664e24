"""The formats of tables by name; a format's module is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.registry.records import resolve

if TYPE_CHECKING:
    from refbench.reporting.tables.model import Document

FORMATS = {
    "md": "refbench.reporting.tables.as_markdown:markdown",
    "latex": "refbench.reporting.tables.as_latex:latex",
    "csv": "refbench.reporting.tables.as_csv:comma_separated",
    "html": "refbench.reporting.tables.as_html:html",
    "json": "refbench.reporting.tables.as_json:json_text",
}


def write_tables(document: Document, form: str) -> str:
    """Return the tables in one of ``FORMATS``."""
    return str(resolve(FORMATS[form])(document))
