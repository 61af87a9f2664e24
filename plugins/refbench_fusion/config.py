"""Configuration of the fusion. Standard library only: ``refbench info`` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LEAST_SIGMA_M = 0.01
"""No height is known better, metres: a smaller standard deviation would outweigh all others."""
MEMBERS = ("resdepth", "diffrender")


def _options() -> dict[str, dict[str, Any]]:
    # Between satellite images alone diffrender loses more than it adds; with posed aerial images it is the better one.
    return {"diffrender": {"mode": "depth"}}


@dataclass(frozen=True)
class FusionConfig:
    """Which methods are joined, and when they count as agreeing."""

    members: tuple[str, ...] = MEMBERS
    """Methods in order of trust: the first that knows a height is the anchor there."""
    agree_m: float = 2.0
    """Heights that lie further from the anchor's are left out, metres."""
    unknown_sigma_m: float = 0.15
    """Standard deviation of the heights of a method that states none, metres."""
    sigmas_m: dict[str, float] = field(default_factory=dict)
    """The same by method, in place of what it states or of ``unknown_sigma_m``."""
    options: dict[str, dict[str, Any]] = field(default_factory=_options)
    """Options of each method's configuration, by method."""

    def __post_init__(self) -> None:
        """Refuse no members, one named twice, the fusion itself, and distances that are not positive."""
        if not self.members:
            raise ValueError("members must name at least one method")
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members names a method twice: {', '.join(self.members)}")
        if "fusion" in self.members:
            raise ValueError("members cannot hold fusion itself")
        for name in (*self.sigmas_m, *self.options):
            if name not in {*self.members, *MEMBERS}:
                raise ValueError(f"{name} is not one of the members ({', '.join(self.members)})")
        for value in (self.agree_m, self.unknown_sigma_m, *self.sigmas_m.values()):
            if not value >= LEAST_SIGMA_M:
                raise ValueError(f"agree_m and standard deviations must be at least {LEAST_SIGMA_M} m, got {value:g}")
