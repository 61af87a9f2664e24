"""Values of JSON types as words: what a reader sees in place of brackets and quotation marks."""

from __future__ import annotations

from typing import Any

SHOWN = 12
"""Entries of a list or a mapping that are written out."""


def in_words(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a value as a reader would say it.

    >>> in_words({"kept_blocks": 3, "is_gated": True, "shift_m": [0.25, -1.5]})
    'kept blocks 3; is gated yes; shift m (0.25, -1.5)'
    >>> in_words([1, 2, 3]), in_words(None), in_words(0.123456)
    ('1, 2, 3', 'none', '0.1235')
    >>> in_words(list(range(20))).endswith(", … (20 in all)")
    True
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return _joined([f"{_name(key)} {_inner(part)}" for key, part in value.items()], "; ")
    if isinstance(value, (list, tuple)):
        return _joined([_inner(part) for part in value], ", ")
    return str(value)


def _inner(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a part of a value; what holds several is in brackets, so that it stays one."""
    return f"({in_words(value)})" if isinstance(value, (dict, list, tuple)) and value else in_words(value)


def _joined(parts: list[str], between: str) -> str:
    """Return the parts in a row, the first ones where there are many."""
    if not parts:
        return "none"
    rest = f"{between}… ({len(parts)} in all)" if len(parts) > SHOWN else ""
    return between.join(parts[:SHOWN]) + rest


def _name(key: object) -> str:
    return str(key).replace("_", " ")
