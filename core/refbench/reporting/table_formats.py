"""The formats of tables by name; a format's module is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.registry.records import resolve

if TYPE_CHECKING:
    from refbench.reporting.table_model import Document

FORMATS = {
    "md": "refbench.reporting.table_markdown:markdown",
    "latex": "refbench.reporting.table_latex:latex",
    "csv": "refbench.reporting.table_csv:comma_separated",
    "html": "refbench.reporting.table_html:html",
    "json": "refbench.reporting.table_json:json_text",
}


def write_tables(document: Document, form: str) -> str:
    """Return the tables in one of ``FORMATS``."""
    return str(resolve(FORMATS[form])(document))
