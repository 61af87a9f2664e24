"""Bridges between points, DSM and depth maps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from refbench.bridges.bridge import Bridge
from refbench.contracts.errors import UnsupportedError
from refbench.contracts.estimate import Estimate
from refbench.contracts.grid import Window
from refbench.contracts.need import Need
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import DSM
from refbench.formats.cloud import HeldPoints
from refbench.formats.cloud_grid import grid_over, spacing
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene, View
    from refbench.contracts.source import PointSource

STRIP_PIXELS = 4 << 20


@dataclass(frozen=True)
class PointsToDSM(Bridge):
    """Grids the points on the scene's grid, or on one of ``gsd`` metres over them; empty cells stay NoData.

    Without both the pixel follows from the points: see ``refbench.formats.cloud_grid.spacing``.
    """

    layer: Literal["mean", "max"] = "mean"
    gsd: float | None = None
    name: ClassVar[str] = "points-to-dsm"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.POINTS})

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return DSM and grid."""
        return frozenset({Need.DSM, Need.GRID})

    def describe(self) -> str:
        """Return the layer and where the grid comes from."""
        new = "of about a point a pixel" if self.gsd is None else f"of {self.gsd:g} m"
        grid = f"the scene's grid, else one {new}"
        return f"points to DSM ({self.layer} of the points in each cell of {grid}; no filling)"

    def estimate(self, scene: Scene) -> Estimate:
        """Count what the points and the grid take; gridding does some ten million points a second."""
        points = 0 if scene.points is None else scene.points.count()
        grid = self.outline(scene).grid
        pixels = 0 if grid is None else grid.width * grid.height
        return Estimate(64 * points + 28 * pixels, points / 1e6 + pixels / 1e8)

    def outline(self, scene: Scene) -> Scene:
        """Return the scene with the grid that it will have, where its points are there."""
        if scene.grid is not None or scene.points is None:
            return scene
        return replace(scene, grid=self._new_grid(scene.points))

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Grid by strips of rows, so that large clouds are not read at once."""
        del scratch
        assert scene.points is not None
        grid = scene.grid or self._new_grid(scene.points)
        heights = grid_points(scene.points, grid, self.layer)
        if not np.isfinite(heights).any():
            raise UnsupportedError(f"Scene {scene.id}: no point of the cloud lies on the scene's grid.")
        origin = scene.origin if scene.grid is not None else (*grid.origin, 0.0)
        found = "" if scene.grid is not None else f"pixels of {grid.gsd:g} m"
        return self._extended(scene, found, dsm=ArraySource(DSM(heights, grid)), grid=grid, origin=origin)

    def _new_grid(self, points: PointSource) -> Grid:
        return grid_over(points, spacing(points) if self.gsd is None else self.gsd)


def grid_points(points: PointSource, grid: Grid, layer: str = "mean") -> NDArray[np.float32]:
    """Return one layer of a point source on ``grid``, float32 [rows, cols], NaN in empty cells, by strips of rows."""
    from refbench.geometry.rasterise import rasterise

    heights = np.full(grid.shape, np.nan, np.float32)
    step = max(1, STRIP_PIXELS // grid.width)
    for row in range(0, grid.height, step):
        strip = grid.window(Window(0, row, grid.width, min(step, grid.height - row)))
        # A cell's edges belong to it on other sides than a rectangle's: read one cell more.
        part = points.read(strip.bounds.padded(grid.gsd))
        if len(part):
            heights[row : row + strip.height] = rasterise(part.xyz, strip, layer)
    return heights


@dataclass(frozen=True)
class DSMToPoints(Bridge):
    """Takes one point from every known pixel centre: no new measurement, so the cloud is called resampled."""

    name: ClassVar[str] = "dsm-to-points"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DSM})

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return points."""
        return frozenset({Need.POINTS})

    def describe(self) -> str:
        """Say that the points are resampled."""
        return "DSM to points (resampled: one point at every known pixel centre)"

    def estimate(self, scene: Scene) -> Estimate:
        """Count 24 bytes a pixel and its temporaries."""
        pixels = 0 if scene.grid is None else scene.grid.width * scene.grid.height
        return Estimate(64 * pixels, pixels / 2e7)

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Read the DSM whole."""
        del scratch
        assert scene.dsm is not None
        dsm = scene.dsm.read()
        valid = dsm.valid
        if not valid.any():
            raise UnsupportedError(f"Scene {scene.id}: the DSM holds no height, so it gives no points.")
        x, y = dsm.grid.centres()
        xyz = np.stack([x[valid], y[valid], dsm.heights[valid].astype(np.float64)], axis=1)
        return self._extended(scene, points=HeldPoints(PointCloud(xyz, dsm.grid.crs, dsm.grid.vertical)))


@dataclass(frozen=True)
class DepthsToPoints(Bridge):
    """Fuses the views' depth maps: points that two views agree on, or all of them where there is one map."""

    relative: float = 0.01
    absolute: float = 1.0
    name: ClassVar[str] = "depths-to-points"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DEPTHS})

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return points."""
        return frozenset({Need.POINTS})

    def condition(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Ask for depth maps of the scene itself: those rendered from a DSM would only bring it back."""
        return None if scene.has(Need.DEPTHS) else "depth maps that were not rendered from a DSM"

    def describe(self) -> str:
        """Return the rule of agreement."""
        return (
            f"depths to points (kept where 2 views agree to {100 * self.relative:g} % of the depth, for cameras "
            f"without perspective to {self.absolute:g} m; all where there is one depth map)"
        )

    def estimate(self, scene: Scene) -> Estimate:
        """Count the pixels of all depth maps."""
        pixels = sum(math.prod(view.depth.shape) for view in scene.views.values() if view.depth is not None)
        return Estimate(150 * pixels, pixels / 5e5)

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Fuse the maps of perspective cameras where there are any, else those of the others."""
        del scratch
        from refbench.geometry.fuse import fuse_depths

        views = [view for view in scene.views.values() if view.depth is not None]
        perspective = [view for view in views if view.camera.is_perspective]
        tolerance = {"relative": self.relative} if perspective else {"relative": 0.0, "absolute": self.absolute}
        views = perspective or views
        depths, cameras = [_depth(view) for view in views], [view.camera for view in views]
        xyz = fuse_depths(depths, cameras, min_views=min(2, len(views)), **tolerance)
        if len(xyz) < 2:
            raise UnsupportedError(f"Scene {scene.id}: the depth maps agree on {len(xyz)} points.")
        crs = None if scene.grid is None else scene.grid.crs
        return self._extended(scene, points=HeldPoints(PointCloud(xyz, crs, scene.vertical)))


def _depth(view: View) -> NDArray[np.float64]:
    """Return the depth map float64 [rows, cols] with NaN where it is invalid."""
    assert view.depth is not None
    image = view.depth.read()
    depth = image.pixels[0].astype(np.float64)
    return depth if image.valid is None else np.where(image.valid, depth, np.nan)
