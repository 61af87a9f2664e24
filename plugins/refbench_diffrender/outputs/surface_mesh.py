"""Surfaces as triangle meshes in scene coordinates, for files: a DSM's, or that of one view's refinement.

Letters: V vertices, T triangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.geometry.sample import bilinear
from refbench_diffrender.mesh.grid_mesh import cell_points, grid_triangles
from refbench_diffrender.outputs.fusion import of_cells
from refbench_diffrender.outputs.held_out import STEEPEST_DEG
from refbench_diffrender.views.gl_cameras import FLIP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import DSM, Grid
    from refbench.geometry.cameras import Pinhole
    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.outputs.fusion import SurfacePoints


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMesh:
    """``vertices`` float64 [V, 3] in scene coordinates, ``triangles`` [T, 3] counter-clockwise as seen from
    outside, ``colour`` uint8 [V, 3].
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.integer]
    colour: NDArray[np.uint8]


def cell_colours(points: SurfacePoints, grid: Grid) -> NDArray[np.float64]:
    """Return the mean colour of the points of every cell, [rows, cols, 3] in 0 to 255; NaN without points."""
    return np.stack([of_cells(points, points.colour[:, k], grid) for k in range(3)], axis=-1)


def dsm_mesh(dsm: DSM, colours: NDArray[np.floating]) -> SurfaceMesh:
    """Return a DSM as a mesh whose vertices are cell centres with ``colours`` [rows, cols, 3] in 0 to 255.

    Cells without a height leave a hole; unknown colours are black.
    """
    grid = dsm.grid
    vertices = cell_points(dsm.heights, grid)
    colour = np.clip(np.nan_to_num(colours), 0, 255).reshape(-1, 3)
    valid = np.isfinite(vertices[:, 2])
    triangles = grid_triangles(grid.height, grid.width, valid=valid)
    triangles = triangles[(triangles >= 0).all(axis=1)]
    corners = vertices[triangles][..., :2]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    downwards = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    triangles[downwards] = triangles[downwards][:, ::-1]
    return _used(vertices, triangles, np.rint(colour).astype(np.uint8))


def view_mesh(run: ViewRefinement, to_scene: NDArray[np.float64]) -> SurfaceMesh:
    """Return the mesh of a refined view, coloured by its image, without triangles that only span steps in depth.

    Parameters
    ----------
    run
        After its last step.
    to_scene
        float64 [4, 4], from the view (OpenGL axes) to scene coordinates; see ``scene_from_view``.
    """
    with torch.no_grad():
        points = run.view_points(2)[:, :3].cpu().numpy().astype(np.float64)
    triangles = run.shown.cpu().numpy().astype(np.int64)
    triangles = triangles[(triangles >= 0).all(axis=1)]
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middles = corners.mean(axis=1)
    facing = -np.einsum("ij,ij->i", normals, middles)
    facing /= np.maximum(np.linalg.norm(normals, axis=1) * np.linalg.norm(middles, axis=1), 1e-300)
    triangles[facing < 0] = triangles[facing < 0][:, ::-1]
    triangles = triangles[np.abs(facing) >= np.cos(np.radians(STEEPEST_DEG))]
    at, image = run.intrinsics, run.own.image.cpu().numpy()
    col = np.clip(at.cx - 0.5 - at.fx * points[:, 0] / points[:, 2], 0, image.shape[1] - 1)
    row = np.clip(at.cy - 0.5 + at.fy * points[:, 1] / points[:, 2], 0, image.shape[0] - 1)
    colour = np.rint(255 * np.clip(bilinear(np.moveaxis(image, -1, 0), col, row), 0, 1)).astype(np.uint8).T
    return _used(points @ to_scene[:3, :3].T + to_scene[:3, 3], triangles, colour)


def scene_from_view(camera: Pinhole) -> NDArray[np.float64]:
    """Return the matrix [4, 4] that leads from a camera's view (OpenGL axes) to scene coordinates."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.R.T, camera.centre
    return np.asarray(pose @ FLIP)


def _used(vertices: NDArray[np.float64], triangles: NDArray[np.integer], colour: NDArray[np.uint8]) -> SurfaceMesh:
    """Return a mesh of the vertices that triangles use."""
    used, renumbered = np.unique(triangles, return_inverse=True)
    return SurfaceMesh(vertices[used], renumbered.reshape(-1, 3), colour[used])
