"""Tables as JSON: every entry with value, interval, spread and mark."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from refbench.engine.job.result import json_ready

if TYPE_CHECKING:
    from refbench.reporting.tables.model import Document

SCHEMA_VERSION = 1


def json_text(document: Document) -> str:
    """Return all tables as JSON."""
    content: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **asdict(document)}
    return json.dumps(json_ready(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
