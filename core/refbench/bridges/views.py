"""Bridges from images with cameras: initial depths, stereo; orthos have a module of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from refbench.bridges.bridge import Bridge
from refbench.bridges.pair_choice import best_pair, footprint
from refbench.contracts.errors import UnsupportedError
from refbench.contracts.estimate import Estimate
from refbench.contracts.grid import Bounds
from refbench.contracts.need import Need
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import DSM, Image
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.scene import Scene, View


def known_dsm(scene: Scene) -> DSM:
    """Return the scene's DSM; raises ``UnsupportedError`` where it holds no height."""
    assert scene.dsm is not None
    dsm = scene.dsm.read()
    if not dsm.valid.any():
        raise UnsupportedError(f"Scene {scene.id}: the DSM holds no height.")
    return dsm


@dataclass(frozen=True)
class DSMToDepths(Bridge):
    """Renders the DSM's depth into every view that has none."""

    name: ClassVar[str] = "dsm-to-depths"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DSM})

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return depths."""
        return frozenset({Need.DEPTHS})

    def condition(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Ask for a view."""
        return None if scene.views else "a view with a camera"

    def describe(self) -> str:
        """Say what is rendered."""
        return "DSM to depths (triangulated DSM rendered into every view without depth)"

    def estimate(self, scene: Scene) -> Estimate:
        """Count the DSM's triangles and the views' pixels."""
        pixels = 0 if scene.grid is None else scene.grid.width * scene.grid.height
        rendered = sum(math.prod(view.image.shape) for view in scene.views.values())
        return Estimate(int(150 * pixels + 30 * rendered), float(len(scene.views) * pixels / 5e5 + rendered / 2e6))

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Render view by view."""
        del scratch
        from refbench.geometry.depth import render_depth

        dsm = known_dsm(scene)
        views = {}
        for name, view in scene.views.items():
            if view.depth is None:
                depth = render_depth(dsm, view.camera, view.image.shape).astype(np.float32)
                source = ArraySource(Image(depth[None], None, ("depth",), np.isfinite(depth)))
                view = replace(view, depth=source)
            views[name] = view
        return self._extended(scene, views=views)


@dataclass(frozen=True)
class StereoToPoints(Bridge):
    """Matches two views by OpenCV's semi-global matching and triangulates, coarse first to find the heights."""

    gsd: float | None = None
    name: ClassVar[str] = "stereo-to-points"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.VIEWS})

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return points."""
        return frozenset({Need.POINTS})

    def condition(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Ask for two far cameras with a rough idea of the heights."""
        far = _far_views(scene)
        if len(far) < 2:
            return "two images with RPCs (close-range views are not matched)"
        if Need.DSM not in held and any(view.camera.height_range is None for view in far):
            return "a DSM or RPCs, for the range of heights"
        return None

    def describe(self) -> str:
        """Name the matcher."""
        return "stereo to points (OpenCV semi-global matching of two views, triangulated)"

    def estimate(self, scene: Scene) -> Estimate:
        """Count the pixels of the first image; matching does some forty thousand a second."""
        pixels = max((math.prod(view.image.shape) for view in _far_views(scene)), default=0)
        return Estimate(500_000_000 + 100 * pixels, pixels / 4e4)

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Match coarsely over all heights, then finely over those found."""
        del scratch
        from refbench.geometry.stereo import match_pair

        far = _far_views(scene)
        heights = _height_range(scene, far[0])
        pair = best_pair(far, sum(heights) / 2)
        first, second = pair.first, pair.second
        images = grey(first.image.read()), grey(second.image.read())
        bounds = _common_bounds(scene, (first, second), images, heights)
        step = max(bounds.east - bounds.west, bounds.north - bounds.south) / 256
        coarse = match_pair(images[0], images[1], first.camera, second.camera, bounds, heights, gsd=step).xyz
        if len(coarse) >= 100:
            low, high = np.quantile(coarse[:, 2], [0.01, 0.99])
            room = max(20.0, 0.2 * float(high - low))
            heights = max(heights[0], float(low) - room), min(heights[1], float(high) + room)
        xyz = match_pair(images[0], images[1], first.camera, second.camera, bounds, heights).xyz
        if len(xyz) < 2:
            raise UnsupportedError(f"Scene {scene.id}: views {first.name} and {second.name} could not be matched.")
        crs = scene.grid.crs if scene.grid is not None else first.camera.crs
        return self._extended(scene, str(pair), points=HeldPoints(PointCloud(xyz, crs, scene.vertical)))


def _far_views(scene: Scene) -> list[View]:
    return [view for view in scene.views.values() if not view.camera.is_perspective]


def grey(image: Image) -> NDArray[np.float32]:
    """Return the mean of the bands, NaN where invalid. Float32 [rows, cols], in the image's own levels."""
    grey = image.pixels.astype(np.float32).mean(axis=0)
    return grey if image.valid is None else np.where(image.valid, grey, np.float32(np.nan))


def _height_range(scene: Scene, view: View) -> tuple[float, float]:
    """Return the heights to search: those of the DSM with room, else those that the camera was made for."""
    if scene.dsm is not None:
        heights = scene.dsm.read().heights
        if np.isfinite(heights).any():
            return float(np.nanmin(heights)) - 20, float(np.nanmax(heights)) + 20
    if view.camera.height_range is None:
        raise UnsupportedError(f"Scene {scene.id}: neither a DSM nor the camera of {view.name} tells the heights.")
    return view.camera.height_range


def _common_bounds(
    scene: Scene, views: tuple[View, View], images: tuple[NDArray[np.float32], ...], heights: tuple[float, float]
) -> Bounds:
    """Return the rectangle that both images see at the middle height, within the scene's grid where it has one."""
    boxes = [_box(v.camera, i.shape, sum(heights) / 2) for v, i in zip(views, images, strict=True)]
    if scene.grid is not None:
        boxes.append(scene.grid.bounds)
    west, south = max(b.west for b in boxes), max(b.south for b in boxes)
    east, north = min(b.east for b in boxes), min(b.north for b in boxes)
    if not (west < east and south < north):
        raise UnsupportedError(f"Scene {scene.id}: views {views[0].name} and {views[1].name} do not overlap.")
    return Bounds(west, south, east, north)


def _box(camera: Camera, shape: tuple[int, ...], height: float) -> Bounds:
    """Return the rectangle on the ground around the corners of an image at one height."""
    ground = footprint(camera, (shape[0], shape[1]), height).reshape(-1, 3)
    low, high = ground.min(axis=0), ground.max(axis=0)
    return Bounds(float(low[0]), float(low[1]), float(high[0]), float(high[1]))
