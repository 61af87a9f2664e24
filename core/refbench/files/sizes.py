"""Sizes in bytes as people write them."""

from __future__ import annotations

_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def parse_size(text: str) -> int:
    """Return the bytes that ``500MB`` or ``4GB`` stand for; raises ``ValueError`` where it is no positive size."""
    lower = text.strip().lower()
    unit = next((factor for name, factor in _UNITS.items() if lower.endswith(name)), 1)
    size = float(lower.rstrip("kmgtb ")) * unit
    if not 1 <= size < 1 << 63:
        raise ValueError(f"{text!r} is no size of a machine")
    return int(size)
