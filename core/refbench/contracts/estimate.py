"""What something will cost, told before it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A cost to an order of magnitude: bytes of memory, and CPU seconds of all threads."""

    bytes: int
    seconds: float
