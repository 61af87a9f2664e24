"""Which sparse points a view really sees, and where: by their tracks, a z-test, or the points alone.

Letters: N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from refbench.contracts.errors import InputError
from refbench.geometry.sample import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.geometry.cameras import Pinhole

    Floats = NDArray[np.float64]

SPREADS = 3.0
"""A point farther behind the surface than so many spreads of all distances to it is hidden."""
MAD_TO_SIGMA = 1.4826
LEAST_TOLERANCE = 1e-3
"""Smallest tolerance of the z-test, as a fraction of the depth: maps and points are rounded."""
SPHERE = 100.0
"""Radius of the sphere that hidden points are told by, in distances of the farthest point."""
LEAST_FOR_HULL = 5
LEAST_INSIDE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ViewPoints:
    """Points of a view: ``col``, ``row`` (integers are pixel centres), ``depth`` (z, metres), float64 [N] each."""

    col: Floats
    row: Floats
    depth: Floats

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.depth)

    def where(self, keep: NDArray[np.bool_]) -> ViewPoints:
        """Return the points where ``keep``, bool [N], is True."""
        return ViewPoints(self.col[keep], self.row[keep], self.depth[keep])

    def places(self, shape: tuple[int, int]) -> Floats:
        """Return (x, y) [N, 2]: -1 is the left or top edge of an image of ``shape``, 1 the right or bottom edge."""
        return np.column_stack([2 * (self.col + 0.5) / shape[1] - 1, 2 * (self.row + 0.5) / shape[0] - 1])

    def under(self, values: NDArray[np.floating]) -> Floats:
        """Return the values of the pixels [rows, cols] that hold the points, float64 [N]; NaN outside."""
        return nearest(np.asarray(values, np.float64), self.col, self.row)


def points_in_view(xyz: Floats, camera: Pinhole, shape: tuple[int, int]) -> ViewPoints:
    """Return the points [N, 3] in front of a camera that fall on an image of ``shape`` (rows, cols), hidden or not."""
    col, row, depth = camera.project(xyz)
    with np.errstate(invalid="ignore"):
        inside = (col >= -0.5) & (row >= -0.5) & (col < shape[1] - 0.5) & (row < shape[0] - 0.5)
    found = ViewPoints(col, row, depth)
    return found.where(inside & (depth > 0))


def tracked_points(xyz: Floats, camera: Pinhole, shape: tuple[int, int], name: str) -> ViewPoints:
    """Return the points [N, 3] that were matched in a view.

    Raises
    ------
    InputError
        Most of them do not fall on its image.
    """
    found = points_in_view(xyz, camera, shape)
    if len(found) < LEAST_INSIDE * len(xyz):
        raise InputError(
            f"Only {len(found)} of the {len(xyz)} sparse points that were matched in view {name} project into its "
            f"image of {shape[1]} x {shape[0]} px: focal length, size or pose belong to another image."
        )
    return found


def before_surface(points: ViewPoints, surface: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which points [N] do not lie behind a depth map [rows, cols] (NaN unknown), bool [N].

    The tolerance is what most points differ from the map by, so it needs no unit.
    """
    behind = points.depth - points.under(surface)
    known = np.isfinite(behind)
    if not known.any():
        return np.zeros(len(points), bool)
    middle = float(np.median(behind[known]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(behind[known] - middle)))
    tolerance = middle + np.maximum(SPREADS * spread, LEAST_TOLERANCE * points.depth)
    with np.errstate(invalid="ignore"):
        return np.asarray(known & (behind <= tolerance))


def not_behind_others(points: ViewPoints, camera: Pinhole) -> NDArray[np.bool_]:
    """Return which points [N] no others hide, bool [N], without any surface.

    Points are turned inside out about a sphere around the camera; those on the convex hull of what results are seen
    (Katz, Tal and Basri, "Direct visibility of point sets", 2007).
    """
    if len(points) < LEAST_FOR_HULL:
        return np.ones(len(points), bool)
    x = (points.col - camera.K[0, 2]) / camera.K[0, 0] * points.depth
    y = (points.row - camera.K[1, 2]) / camera.K[1, 1] * points.depth
    rays = np.column_stack([x, y, points.depth])
    distance = np.linalg.norm(rays, axis=1)
    flipped = rays * ((2 * SPHERE * distance.max() - distance) / distance)[:, None]
    try:
        corners = ConvexHull(np.vstack([flipped, np.zeros(3)])).vertices
    except QhullError:  # all in a plane with the camera
        return np.ones(len(points), bool)
    seen = np.zeros(len(points) + 1, bool)
    seen[corners] = True
    return seen[:-1]
