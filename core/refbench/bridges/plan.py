"""Bridges: the shortest chain of conversions from what a scene holds to what a method needs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from refbench.bridges.ndvi import OrthoToNDVI
from refbench.bridges.orthos import DSMToOrtho
from refbench.bridges.points import DepthsToPoints, DSMToPoints, PointsToDSM
from refbench.bridges.views import DSMToDepths, StereoToPoints
from refbench.contracts.errors import InputError, UnsupportedError
from refbench.contracts.need import Need

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from refbench.bridges.bridge import Bridge
    from refbench.contracts.scene import Scene

__all__ = ["all_bridges", "apply_bridges", "apply_optional", "check_bridge_names", "plan_bridges"]


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


def check_bridge_names(names: Iterable[str]) -> None:
    """Raise ``InputError`` at the first name that no bridge has."""
    known = [bridge.name for bridge in all_bridges()]
    for name in names:
        if name not in known:
            raise InputError(f"There is no bridge {name!r}; choose from {', '.join(known)}.")


def plan_bridges(
    scene: Scene,
    needs: Iterable[Need],
    gsd: float | None = None,
    *,
    crossed: Iterable[Bridge] = (),
    optional: bool = False,
    without: Collection[str] = (),
) -> tuple[Bridge, ...]:
    """Return the shortest chain after which the scene holds all ``needs``; empty where it already does.

    Nothing is read but headers.

    Parameters
    ----------
    scene, needs, gsd
        What is there, what is wanted, and the pixel in metres of a grid for a scene that has none.
    crossed
        Bridges that are crossed before.
    optional
        Whether the needs are what a method could use: then only bridges count that are made for it.
    without
        Names of bridges that are switched off.

    Raises
    ------
    UnsupportedError
        No chain does it; the message says what is missing and why each bridge to it cannot be crossed.
    """
    wanted = frozenset(needs)
    start = frozenset(need for need in Need if scene.has(need)).union(*(bridge.makes(scene) for bridge in crossed))
    allowed = all_bridges(gsd)
    if optional:
        allowed = tuple(bridge.as_optional() for bridge in allowed if bridge.serves_optional)
    bridges = tuple(bridge for bridge in allowed if bridge.name not in without)
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
    raise UnsupportedError(_reason(scene, missing, reached, allowed, without))


def _reason(
    scene: Scene,
    missing: list[Need],
    reached: frozenset[Need],
    bridges: tuple[Bridge, ...],
    without: Collection[str],
) -> str:
    names = [need.value.replace("_", " ") for need in missing]
    makers = [bridge for bridge in bridges if bridge.makes(scene) & frozenset(missing)]
    tried = [
        f"the bridge {bridge.name} is switched off"
        if bridge.name in without
        else f"the bridge {bridge.name} needs {bridge.obstacle(scene, reached)}"
        for bridge in makers
    ]
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


def apply_optional(scene: Scene, bridges: Iterable[Bridge], scratch: Path) -> tuple[Scene, tuple[str, ...]]:
    """Return the scene after those bridges that carry anything over, and a sentence for each that does not."""
    notes = []
    for bridge in bridges:
        try:
            scene = bridge.apply(scene, scratch)
        except UnsupportedError as error:
            notes.append(f"The bridge {bridge.name} was not crossed: {error}")
    return scene, tuple(notes)
