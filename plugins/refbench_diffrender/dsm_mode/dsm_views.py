"""The views of DSM mode: which of a scene's see the DSM, how their images are scaled, what is held out.

Images are opened whole one at a time; afterwards only the parts that show a piece of ground are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from refbench import DSM, Window
from refbench.contracts.errors import UnsupportedError
from refbench.geometry.tile_views import part_that_shows, tile_view
from refbench_diffrender.dsm_mode.rpc_bias import without_rpc_bias
from refbench_diffrender.mesh.grid_mesh import cell_points
from refbench_diffrender.views.ground_view import GroundView, ViewScale, ground_part, view_scale
from refbench_diffrender.views.initial_depth import whole_surface
from refbench_diffrender.views.views import parted_views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from refbench import Grid, Scene
    from refbench.contracts.scene import View
    from refbench.contracts.source import RasterSource
    from refbench.contracts.tiles import TileView
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser

PAIR = 2
MOST_CELLS = 512
"""Side of the middle of a large DSM that tells RPC bias and resolution, cells."""
STRIP_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class DsmViews:
    """``compared`` and ``held`` name views, ``scales`` are theirs, ``offsets`` the RPC bias in pixels (right, down)."""

    compared: tuple[str, ...]
    held: tuple[str, ...]
    scales: Mapping[str, ViewScale]
    offsets: Mapping[str, tuple[float, float]]

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are compared, then those that are held out."""
        return (*self.compared, *self.held)

    def of_tile(self, parts: Iterable[TileView], surface: DSM) -> tuple[list[GroundView], list[GroundView]]:
        """Return the views that are compared and those held out, cut to a surface; those that see it not left out."""
        vertices = cell_points(surface.heights, surface.grid)
        found = {}
        for part in parts:
            view = ground_part(part, self.scales[part.name]).cut(vertices)
            if view is not None:
                found[part.name] = view
        compared, held = ([found[name] for name in names if name in found] for names in (self.compared, self.held))
        return compared, held

    def of_surface(self, scene: Scene, surface: DSM) -> tuple[list[GroundView], list[GroundView]]:
        """Return the views cut to a surface as ``of_tile``, read from the scene."""
        return self.of_tile(_parts([scene.views[name] for name in self.names], surface), surface)


def dsm_views(scene: Scene, config: DiffrenderConfig, renderer: Rasteriser, device: str) -> DsmViews:
    """Return the views of a scene that see its DSM.

    Raises
    ------
    UnsupportedError
        Fewer than two views see the DSM, or it has no height at all.
    InputError
        A view that the configuration names is not there.
    """
    dsm = scene.dsm
    assert dsm is not None  # ``refines_dsm`` looked
    surface, known = _middle(dsm, scene.require_grid())
    vertices = cell_points(surface.heights, surface.grid)
    scales: dict[str, ViewScale] = {}
    for name, view in sorted(scene.views.items()):
        at = view_scale(whole := tile_view(view))
        ground = ground_part(whole, at)
        if ground.known.any() and _sees(ground, dsm, scene.require_grid()):
            middle = vertices[len(vertices) // 2]
            scales[name] = replace(at, scale=ground.reduction(surface.grid.gsd, middle, config.dsm.pixels_per_cell))
    if len(scales) < PAIR:
        raise UnsupportedError(
            f"Scene {scene.id}: {len(scales)} of {len(scene.views)} views see the DSM; DSM mode compares two or more: "
            "check cameras and CRS."
        )
    chosen, _, held = parted_views([scene.views[name] for name in scales], config)
    found = DsmViews(tuple(v.name for v in chosen), tuple(v.name for v in held), scales, {})
    if not config.dsm.rpc_bias:
        return found
    parts = _parts([*chosen, *held], surface)
    views = [ground_part(part, scales[part.name]) for part in parts]
    _, offsets = without_rpc_bias(views, surface, known, config, renderer, device)
    moved = {name: replace(scale, shift=offsets.get(name, (0.0, 0.0))) for name, scale in scales.items()}
    return replace(found, scales=moved, offsets=offsets)


def _parts(views: Sequence[View], surface: DSM) -> list[TileView]:
    """Return the parts of the views that show a surface."""
    heights = float(surface.heights.min()), float(surface.heights.max())
    found = []
    for view in views:
        part = part_that_shows(view.camera, view.image.shape, surface.grid, heights)
        if part is not None:
            found.append(tile_view(view, part))
    return found


def _middle(dsm: RasterSource[DSM], grid: Grid) -> tuple[DSM, NDArray[np.bool_]]:
    """Return the middle of a DSM without holes, and where it was given; of one without heights there, the whole."""
    height, width = min(MOST_CELLS, grid.height), min(MOST_CELLS, grid.width)
    part = dsm.read(Window((grid.width - width) // 2, (grid.height - height) // 2, width, height))
    if not part.valid.any():
        part = dsm.read()
    return whole_surface(part), part.valid


def _sees(view: GroundView, dsm: RasterSource[DSM], grid: Grid) -> bool:
    """Return whether any known cell of a DSM falls on a view's image."""
    for row in range(0, grid.height, STRIP_ROWS):
        strip = dsm.read(Window(0, row, grid.width, min(STRIP_ROWS, grid.height - row)))
        if view.sees(cell_points(strip.heights, strip.grid)[strip.valid.ravel()]).any():
            return True
    return False
