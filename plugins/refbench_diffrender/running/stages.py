"""How far the two stages of a view are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refbench_diffrender.running.steps import Stage


@dataclass
class Progress:
    """How far a view is: ``stage``, ``losses`` of that stage's steps so far, ``notes`` of what was seen."""

    stage: Stage = 1
    losses: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    settled: bool = False
    """Whether the stage has ended."""
    done: int = 0
    """Steps of both stages."""

    @property
    def where(self) -> str:
        """The place in words."""
        return f"stage {self.stage}, step {self.done}"


def take_progress(progress: Progress, values: dict[str, Any]) -> None:
    """Bring a progress to what was kept of it."""
    for key, value in values.items():
        setattr(progress, key, value)
