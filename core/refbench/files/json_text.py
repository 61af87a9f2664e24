"""JSON as official configurations are read: each key once, and no nesting that Python cannot follow."""

from __future__ import annotations

import json
from typing import Any

from refbench.files.yaml_text import NESTED


def parse_json(text: str) -> Any:  # noqa: ANN401  # whatever JSON can say
    """Return the content of a JSON document.

    Raises
    ------
    ValueError
        It is none, gives a key twice, or is nested beyond any use; the message says which.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(NESTED) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key} is given twice; keep one")
        found[key] = value
    return found
