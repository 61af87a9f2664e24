"""A depth map as a grid of triangles in its camera (docs/methods/diffrender.md). Letters: V vertices, T triangles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import Grid

DROPPED = -1
"""Stands for all corners of a triangle that is not there."""
ROOM = 1e-4
"""By how much depths must lie inside the clip planes."""


def grid_pixels(shape: tuple[int, int], stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the vertices: pixels 0, k, 2k, ..., floor(h / k) x floor(w / k) of them.

    Both are int64 [V]; ``shape`` is (rows, cols).
    """
    return np.arange(shape[0] // stride) * stride, np.arange(shape[1] // stride) * stride


def grid_points(
    depth: NDArray[np.floating], intrinsics: tuple[float, float, float, float], stride: int
) -> NDArray[np.float64]:
    """Return view points [V, 3] of a depth map [h, w], row by row: OpenGL axes, depth is -z.

    ``intrinsics`` are fx, fy, cx, cy with the origin at the corner of the first pixel.
    """
    fx, fy, cx, cy = intrinsics
    rows, cols = grid_pixels((depth.shape[0], depth.shape[1]), stride)
    d = depth[np.ix_(rows, cols)].astype(np.float64)
    x = (cols[None] + 0.5 - cx) * d / fx
    y = -(rows[:, None] + 0.5 - cy) * d / fy
    return np.stack([x, y, -d], axis=-1).reshape(-1, 3)


def cell_points(heights: NDArray[np.floating], grid: Grid) -> NDArray[np.float64]:
    """Return the centres of a grid's cells at their ``heights`` [rows, cols], float64 [V, 3] in scene coordinates."""
    x, y = grid.centres()
    return np.stack([x, y, heights.astype(np.float64)], axis=-1).reshape(-1, 3)


def grid_triangles(
    rows: int, cols: int, *, alternating: bool = True, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Return triangles int32 [T, 3] of a grid, two per cell, cell by cell.

    ``alternating`` turns the diagonal like a checkerboard. Triangles with a corner that is not ``valid`` (bool [V]) are
    -1 in all corners.
    """
    y, x = np.mgrid[: rows - 1, : cols - 1]
    i = (y * cols + x).ravel()
    first = np.stack([np.stack([i, i + 1, i + cols], -1), np.stack([i + 1, i + 1 + cols, i + cols], -1)], 1)
    if alternating:
        other = np.stack([np.stack([i, i + 1 + cols, i + cols], -1), np.stack([i + 1, i + 1 + cols, i], -1)], 1)
        odd = ((x % 2) != (y % 2)).ravel()
        first = np.where(odd[:, None, None], first, other)
    triangles = first.reshape(-1, 3).astype(np.int32)
    if valid is not None:
        triangles[~valid[triangles].all(axis=1)] = DROPPED
    return triangles


def inside(points: NDArray[np.floating], near: float, far: float) -> NDArray[np.bool_]:
    """Return which points [V, 3] are finite and strictly between the clip planes, bool [V]."""
    with np.errstate(invalid="ignore"):
        depth = np.abs(points[:, 2])
        kept = (depth > near + ROOM) & (depth < far - ROOM)
    return np.asarray(kept & np.isfinite(points).all(axis=1))


def facing(points: NDArray[np.floating], triangles: NDArray[np.integer], steepest_deg: float) -> NDArray[np.bool_]:
    """Return which triangles [T, 3] of view points [V, 3] are seen from the origin under at most so large an angle.

    The angle is that between the ray to the middle of a triangle and its normal, whichever side it shows. A triangle
    under a larger one spans a step between two surfaces: nobody saw it.
    Bool [T]; points are metres, OpenGL axes.
    """
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middles = corners.mean(axis=1)
    lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(middles, axis=1)
    along = np.abs(np.einsum("ij,ij->i", normals, middles))
    return np.asarray(along >= np.cos(np.radians(steepest_deg)) * lengths)
