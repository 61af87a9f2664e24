"""What a plugin is made of: the hooks, and the records that they return."""

from __future__ import annotations

import dataclasses
import inspect

from refbench.registry import hookspecs, records
from site_pages.fields import own_rows, table

RECORDS = tuple(
    value
    for value in vars(records).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type) and value.__module__ == records.__name__
)


def hooks() -> dict[str, str]:
    """Return the docstring of every hook."""
    marked = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "refbench_spec")}
    return {name: inspect.getdoc(value) or "" for name, value in marked.items()}


def hooks_page() -> str:
    """Return the page of the hooks."""
    lines = ["# Hooks", "", _plain(inspect.getdoc(hookspecs) or ""), ""]
    for name, text in hooks().items():
        signature = inspect.signature(getattr(hookspecs, name))
        lines += [f"## {name}", "", "```python", f"def {name}{signature}", "```", "", _plain(text), ""]
    return "\n".join(lines)


def records_page() -> str:
    """Return the page of the records."""
    lines = ["# Records", "", "Frozen data; importing a record imports nothing heavy.", ""]
    for record in RECORDS:
        lines += [f"## {record.__name__}", "", _plain(inspect.getdoc(record) or ""), "", table(own_rows(record)), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return a docstring as Markdown."""
    return text.replace("``", "`")
