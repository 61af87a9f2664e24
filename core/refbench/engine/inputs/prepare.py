"""Making a scene ready for a method: bridges, the initial DSM for comparison, an estimate of the cost."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.bridges.plan import plan_bridges
from refbench.contracts.errors import UnsupportedError
from refbench.contracts.need import Gives, Need

if TYPE_CHECKING:
    from refbench.bridges.bridge import Bridge
    from refbench.contracts.scene import Scene
    from refbench.registry.records import MethodRecord


@dataclass(frozen=True, slots=True)
class Preparation:
    """The chain of bridges that a method needs on a scene, and what it costs on one core."""

    bridges: tuple[Bridge, ...]
    bytes: int
    seconds: float

    def lines(self) -> list[str]:
        """Return the chain as sentences, one per bridge."""
        return [bridge.describe() for bridge in self.bridges] or ["none: the scene holds everything itself"]


def prepare(scene: Scene, record: MethodRecord, gsd: float | None = None) -> Preparation:
    """Return the bridges that give ``record`` what it needs; nothing is read but headers.

    Where there is a way, the initial DSM is bridged as well: it is what the refined one is compared with. What the
    method could use besides is bridged where nothing is lost by it.

    Raises
    ------
    UnsupportedError
        No chain of bridges does it.
    """
    needs = set(record.needs)
    if Gives.DSM in record.gives and scene.has(Need.GRID):
        needs.add(Need.GRID)
        try:
            bridges = plan_bridges(scene, needs | {Need.DSM}, gsd)
        except UnsupportedError:
            bridges = plan_bridges(scene, needs, gsd)
    else:
        bridges = plan_bridges(scene, needs, gsd)
    for need in record.optional:
        with contextlib.suppress(UnsupportedError):
            bridges += plan_bridges(scene, {need}, lossless=True)
    estimates = []
    for bridge in bridges:
        estimates.append(bridge.estimate(scene))
        scene = bridge.outline(scene)  # what the next one begins with
    return Preparation(bridges, sum(e.bytes for e in estimates), sum(e.seconds for e in estimates))
