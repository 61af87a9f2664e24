"""What the Poisson term keeps from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PoissonAxis:
    """All that does not change from step to step, for the gradients along one axis; [rows, cols] each."""

    weight: Tensor
    """Of the difference between the two gradient fields."""
    source: Tensor
    """The gradient field to keep, filtered."""
    counted: Tensor
    """What a gradient of the target counts in the filter; 0 where it touches the unknown."""
    inverse: Tensor
    """1 / (summed weight of a pixel's taps)."""
