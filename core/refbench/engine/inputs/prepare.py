"""Making a scene ready for a method: bridges, the initial DSM for comparison, an estimate of the cost."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.bridges.plan import plan_bridges
from refbench.contracts.errors import UnsupportedError
from refbench.contracts.need import Gives, Need

if TYPE_CHECKING:
    from collections.abc import Collection

    from refbench.bridges.bridge import Bridge
    from refbench.contracts.scene import Scene
    from refbench.registry.records import MethodRecord


@dataclass(frozen=True, slots=True)
class Preparation:
    """The chain of bridges that a method needs on a scene, those to what it could use, and the cost on one core."""

    bridges: tuple[Bridge, ...]
    optional: tuple[Bridge, ...]
    bytes: int
    seconds: float

    def lines(self) -> list[str]:
        """Return the chain as sentences, one per bridge."""
        needed = [bridge.describe() for bridge in self.bridges]
        useful = [f"{bridge.describe()}; where it can, for what the method could use" for bridge in self.optional]
        return needed + useful or ["none: the scene holds everything itself"]


def _needed(scene: Scene, record: MethodRecord, gsd: float | None, without: Collection[str]) -> tuple[Bridge, ...]:
    """Return the bridges to what a method needs, with the initial DSM and a grid where there is a way to them."""
    needs, wanted = set(record.needs), [set(record.needs)]
    # What gives nothing but a DSM must have a grid to give it on; others have depth maps to give of close images, but
    # nothing of satellite images.
    gives_no_more = record.gives == (Gives.DSM,)
    is_close = any(view.camera.is_perspective for view in scene.views.values())
    if Gives.DSM in record.gives and (scene.has(Need.GRID) or gsd is not None or gives_no_more or not is_close):
        wanted = [needs | {Need.GRID, Need.DSM}, needs | {Need.GRID}]
        wanted += [needs] * (not gives_no_more and gsd is None)
    for some in wanted[:-1]:
        with contextlib.suppress(UnsupportedError):
            return plan_bridges(scene, some, gsd, without=without)
    return plan_bridges(scene, wanted[-1], gsd, without=without)


def prepare(scene: Scene, record: MethodRecord, gsd: float | None = None, without: Collection[str] = ()) -> Preparation:
    """Return the bridges that give ``record`` what it needs; nothing is read but headers.

    Where there is a way, the initial DSM is bridged as well: it is what the refined one is compared with. What the
    method could use besides is bridged by bridges made for it; ``without`` names bridges that are switched off.

    Raises
    ------
    UnsupportedError
        No chain of bridges does it.
    """
    bridges = _needed(scene, record, gsd, without)
    optional: tuple[Bridge, ...] = ()
    for need in record.optional:
        with contextlib.suppress(UnsupportedError):
            optional += plan_bridges(scene, {need}, gsd, crossed=bridges + optional, optional=True, without=without)
    estimates = []
    for bridge in bridges + optional:
        estimates.append(bridge.estimate(scene))
        scene = bridge.outline(scene)  # what the next one begins with
    return Preparation(bridges, optional, sum(e.bytes for e in estimates), sum(e.seconds for e in estimates))
