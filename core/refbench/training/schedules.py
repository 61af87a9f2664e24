"""Learning-rate schedules that torch does not have."""

from __future__ import annotations

import math
from dataclasses import dataclass

WARMUP_FRACTION = 0.05
LAST_RATE = 0.01
"""The learning rate rises over the first steps and falls along a cosine to this fraction of its highest value."""


@dataclass(frozen=True)
class CosineFraction:
    """Fraction of the highest learning rate at a step, for ``LambdaLR``: linear warm-up, then half a cosine."""

    steps: int

    def __call__(self, step: int) -> float:
        """Return the fraction, in (0, 1]."""
        warm = max(1, round(WARMUP_FRACTION * self.steps))
        if step < warm:
            return (step + 1) / warm
        turn = min(1.0, (step - warm) / max(1, self.steps - warm))
        return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * turn)) / 2
