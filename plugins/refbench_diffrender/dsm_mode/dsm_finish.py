"""What DSM mode leaves beside the refined DSM, read whole: depth maps, a mesh, what held-out views say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.geometry.depth import render_depth
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement
from refbench_diffrender.dsm_mode.dsm_trust import held_out_similarity
from refbench_diffrender.mesh.grid_mesh import cell_points
from refbench_diffrender.outputs.result_files import write_meshes
from refbench_diffrender.outputs.surface_mesh import dsm_mesh
from refbench_diffrender.views.initial_depth import whole_surface

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import DSM, Scene
    from refbench.contracts.source import RasterSource
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.dsm_mode.dsm_views import DsmViews
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser


def held_out_notes(
    scene: Scene, refined: DSM, views: DsmViews, config: DiffrenderConfig, renderer: Rasteriser, device: str
) -> dict[str, Any]:
    """Return by held-out view how alike the others, carried into it, are: with the initial and the refined DSM."""
    assert scene.dsm is not None  # DSM mode refines it
    initial, refined = whole_surface(scene.dsm.read()), whole_surface(refined)
    compared, held = views.of_surface(scene, initial)
    found = {}
    for view in held:
        before, after = (
            DsmRefinement(dsm.heights, dsm.valid, dsm.grid, [view, *compared], config, renderer, device)
            for dsm in (initial, refined)
        )
        found[view.name] = held_out_similarity(before, after, 0)
    return found


def depths_of(scene: Scene, refined: RasterSource[DSM]) -> dict[str, NDArray[np.float32]]:
    """Return the depth maps float32 [rows, cols] of the refined DSM in the pinhole views."""
    found = {}
    for name, view in sorted(scene.views.items()):
        if view.camera.pinhole is not None:
            found[name] = render_depth(refined.read(), view.camera, view.image.shape).astype(np.float32)
    return found


def mesh_files(scene: Scene, refined: DSM, views: DsmViews, folder: Path) -> dict[str, Path]:
    """Write the surface as a mesh with the brightness of the view that sees most of it."""
    shown, _ = views.of_surface(scene, whole_surface(refined))
    vertices = cell_points(refined.heights, refined.grid)
    best = max(shown, key=lambda view: int(view.sees(vertices).sum()))
    grey = 255 * best.brightness_at(vertices).reshape(*refined.heights.shape, 1)
    mesh = dsm_mesh(refined, np.repeat(grey, 3, axis=2))
    return write_meshes(folder, {"mesh": mesh}, refined.grid.crs)
