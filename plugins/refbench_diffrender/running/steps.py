"""A step of an optimiser: the sum of the weighted terms, its gradient, and what the loop is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

Stage = Literal[1, 2]


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step: its number over both stages, its stage, total loss and terms, as logged."""

    step: int
    stage: Stage
    total: float
    terms: dict[str, float]


def cosine_fraction(left: int, steps: int) -> float:
    """Return half a cosine from 1 down to 0, for learning rates; ``left`` counts the steps from this one on."""
    return 0.5 * (1 - math.cos(math.pi * left / max(1, steps)))


def descend(optimizer: torch.optim.Optimizer, terms: Mapping[str, Tensor], step: int, stage: Stage) -> StepReport:
    """Take a step down the sum of weighted terms, each a scalar; gradients of the step before are gone by then."""
    total = torch.stack(list(terms.values())).sum()
    torch.autograd.backward(total)
    optimizer.step()
    values = {name: float(value.detach()) for name, value in terms.items()}
    return StepReport(step, stage, float(total.detach()), values)
