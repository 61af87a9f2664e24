"""Cutting: what a tile method sees of a scene, window by window, relative to local origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Bounds, Grid, Window
from refbench.contracts.need import Need
from refbench.contracts.tiles import TileBatch, TileView
from refbench.geometry.image_scale import one_band
from refbench.geometry.tile_views import part_that_shows, tile_view
from refbench.geometry.warp import warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.raster import Image
    from refbench.contracts.scene import Scene, View
    from refbench.contracts.source import RasterSource
    from refbench.contracts.tiles import TilePlan

ORTHO_NEEDS = frozenset({Need.ORTHO, Need.ORTHO_PAIR})
RESAMPLING_MARGIN_PX = 3


class TileCutter:
    """Cuts ``TileBatch`` es; ``orthos`` names the images, one band each: the mean; ``views`` the posed images."""

    def __init__(
        self,
        scene: Scene,
        plan: TilePlan,
        needs: frozenset[Need],
        orthos: Sequence[str] = (),
        views: Sequence[str] = (),
    ) -> None:
        self._scene, self._plan, self._needs = scene, plan, needs
        self._orthos = tuple(scene.orthos[name] for name in orthos) if needs & ORTHO_NEEDS else ()
        self._views = tuple(scene.views[name] for name in views) if Need.VIEWS in needs else ()

    @property
    def bytes_per_tile(self) -> int:
        """Estimate of what one cut tile takes, points left out; of views, as if they resolved the tile's pixels."""
        rasters = 2 + 3 * len(self._orthos) + 3 * len(self._views)
        return 4 * self._plan.height * self._plan.width * rasters

    def cut(self, indices: NDArray[np.int64]) -> TileBatch:
        """Return the batch of the tiles ``indices``.

        Of n ``indices`` [n], numbers of tiles in the plan; its arrays begin with an axis [n, ...].
        """
        scene, plan = self._scene, self._plan
        grid = scene.grid
        assert grid is not None  # the engine checked it
        windows = tuple(plan.window(int(index)) for index in indices)
        anchors = np.array([self._anchor(grid, int(index)) for index in indices], np.float64).reshape(-1, 2)
        dsm = np.stack([scene.dsm.read(w).heights for w in windows]) if scene.dsm and Need.DSM in self._needs else None
        points = None
        if scene.points is not None and Need.POINTS in self._needs:
            points = [self._points(grid, anchor) for anchor in anchors]
        offset = np.zeros(len(windows))
        ranges: list[tuple[float, float] | None] = []
        for i in range(len(windows)):
            known = dsm[i][np.isfinite(dsm[i])] if dsm is not None else points[i][:, 2] if points else np.empty(0)
            if known.size:
                offset[i] = float(np.round(np.median(known.astype(np.float64))))
            ranges.append((float(known.min()), float(known.max())) if known.size else None)
        if dsm is not None:
            dsm = (dsm - offset[:, None, None]).astype(np.float32)
        if points is not None:
            local = zip(points, anchors, offset, strict=True)
            points = [np.column_stack([xyz[:, :2] - anchor, xyz[:, 2] - base]) for xyz, anchor, base in local]
        return TileBatch(
            windows,
            grid,
            offset,
            anchors,
            dsm=dsm,
            orthos=np.stack([self._images(grid, w) for w in windows]) if self._orthos else None,
            points=None if points is None else tuple(points),
            ndvi=np.stack([_on_tile(scene.ndvi, grid, w) for w in windows])
            if scene.ndvi is not None and Need.NDVI in self._needs
            else None,
            views=tuple(self._shown(grid, w, heights) for w, heights in zip(windows, ranges, strict=True))
            if Need.VIEWS in self._needs
            else None,
            numbers=tuple(int(index) for index in indices),
            total=len(plan),
        )

    def _shown(self, grid: Grid, window: Window, heights: tuple[float, float] | None) -> tuple[TileView, ...]:
        """Return the parts of the views that show a tile between two heights, metres; None: they are not known."""
        inside = window.intersection(grid.full_window)
        if inside is None:
            return ()
        ground, parts = grid.window(inside), []
        for view in self._views:
            part = _part(view, ground, heights)
            if part is not None:
                parts.append(tile_view(view, part))
        return tuple(parts)

    def _anchor(self, grid: Grid, index: int) -> tuple[float, float]:
        if self._plan.anchors is not None:
            return float(self._plan.anchors[index, 0]), float(self._plan.anchors[index, 1])
        bounds = grid.window(self._plan.window(index)).bounds
        return bounds.west, bounds.south

    def _points(self, grid: Grid, anchor: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self._scene.points is not None  # asked for only then
        x, y = grid.resolution
        west, south = float(anchor[0]), float(anchor[1])
        bounds = Bounds(west, south, west + self._plan.width * x, south + self._plan.height * y)
        return self._scene.points.read(bounds).xyz

    def _images(self, grid: Grid, window: Window) -> NDArray[np.float32]:
        return np.stack([_on_tile(source, grid, window) for source in self._orthos])


def _part(view: View, ground: Grid, heights: tuple[float, float] | None) -> Window | None:
    """Return the window of a view's image that shows the ground; without its heights, those the camera is for."""
    between = heights or view.camera.height_range
    return None if between is None else part_that_shows(view.camera, view.image.shape, ground, between)


def _on_tile(source: RasterSource[Image], grid: Grid, window: Window) -> NDArray[np.float32]:
    """Return one band of an image on the window of ``grid``: read where the grids agree, else bilinear."""
    own = source.grid
    if own is None or own == grid:
        return one_band(source.read(window), "mean").astype(np.float32)
    tile = grid.window(window)
    bounds = tile.bounds
    col, row = own.pixel_of(np.array([bounds.west, bounds.east]), np.array([bounds.north, bounds.south]))
    first = int(np.floor(col[0])) - RESAMPLING_MARGIN_PX, int(np.floor(row[0])) - RESAMPLING_MARGIN_PX
    last = int(np.ceil(col[1])) + RESAMPLING_MARGIN_PX, int(np.ceil(row[1])) + RESAMPLING_MARGIN_PX
    part = Window(first[0], first[1], last[0] - first[0], last[1] - first[1])
    return np.asarray(warp(one_band(source.read(part), "mean"), own.window(part), tile, "bilinear"), np.float32)
