"""Bridges: the shortest chain of conversions from what a scene holds to what a method needs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from refbench.bridges.ndvi import OrthoToNDVI
from refbench.bridges.points import DepthsToPoints, DSMToPoints, PointsToDSM
from refbench.bridges.views import DSMToDepths, DSMToOrtho, StereoToPoints
from refbench.contracts.errors import UnsupportedError
from refbench.contracts.need import Need

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from refbench.bridges.bridge import Bridge
    from refbench.contracts.scene import Scene

__all__ = ["all_bridges", "apply_bridges", "plan_bridges"]


_OPTIONS = {
    Need.DSM: "a DSM with --dsm",
    Need.POINTS: "a cloud with --points",
    Need.ORTHO: "an ortho image with --ortho",
    Need.ORTHO_PAIR: "two ortho images with --ortho",
    Need.NDVI: "an NDVI with --ndvi",
    Need.VIEWS: "two or more images with --view, or a scene that holds posed images",
}
"""What to do where a scene lacks something."""


def all_bridges(gsd: float | None = None) -> tuple[Bridge, ...]:
    """Return every bridge, in the order in which equally short chains are preferred.

    ``gsd`` in metres is for the grid of a scene that has none. Measured points come before resampled ones.
    """
    return (
        PointsToDSM(gsd=gsd),
        DSMToOrtho(),
        DSMToDepths(),
        DepthsToPoints(),
        DSMToPoints(),
        StereoToPoints(gsd=gsd),
        OrthoToNDVI(),
    )


def plan_bridges(
    scene: Scene, needs: Iterable[Need], gsd: float | None = None, *, lossless: bool = False
) -> tuple[Bridge, ...]:
    """Return the shortest chain after which the scene holds all ``needs``; empty where it already does.

    Nothing is read but headers. ``lossless`` takes only bridges that are.

    Raises
    ------
    UnsupportedError
        No chain does it; the message says what is missing and why each bridge to it cannot be crossed.
    """
    wanted = frozenset(needs)
    start = frozenset(need for need in Need if scene.has(need))
    bridges = tuple(bridge for bridge in all_bridges(gsd) if bridge.is_lossless or not lossless)
    open_: deque[tuple[frozenset[Need], tuple[Bridge, ...]]] = deque([(start, ())])
    seen = {start}
    while open_:
        held, chain = open_.popleft()
        if wanted <= held:
            return chain
        for bridge in bridges:
            after = held | bridge.makes(scene)
            if after not in seen and bridge.obstacle(scene, held) is None:
                seen.add(after)
                open_.append((after, (*chain, bridge)))
    reached: frozenset[Need] = frozenset().union(*seen)
    missing = [need for need in Need if need in wanted - reached]
    raise UnsupportedError(_reason(scene, missing, reached, bridges))


def _reason(scene: Scene, missing: list[Need], reached: frozenset[Need], bridges: tuple[Bridge, ...]) -> str:
    names = [need.value.replace("_", " ") for need in missing]
    makers = [bridge for bridge in bridges if bridge.makes(scene) & frozenset(missing)]
    tried = [f"the bridge {bridge.name} needs {bridge.obstacle(scene, reached)}" for bridge in makers]
    why = "; ".join(tried) if tried else "no bridge makes that"
    if missing == [Need.VIEWS] and scene.views:
        return f"Scene {scene.id} has one view, {next(iter(scene.views))}, and two or more are needed."
    given = [_OPTIONS[need] for need in missing if need in _OPTIONS]
    hint = f" Give {' and '.join(given)}." if given else ""
    return f"Scene {scene.id} has no {', '.join(names)}: {why}.{hint}"


def apply_bridges(scene: Scene, bridges: Iterable[Bridge], scratch: Path) -> Scene:
    """Return the scene after crossing every bridge in turn; each is recorded in ``Scene.bridges``.

    The results live in memory. ``scratch`` is a folder that bridges may write to.

    Raises
    ------
    UnsupportedError
        A bridge finds nothing to carry over, such as a stereo pair without a match.
    """
    for bridge in bridges:
        scene = bridge.apply(scene, scratch)
    return scene
