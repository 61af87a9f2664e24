"""Levelling an oblique view: the same image from the same point, as if the camera had looked straight down.

A camera that only turns sees no parallax, so this is one homography. The planes of a nadir view are horizontal: they
share the scene's range of heights instead of the far longer range of depths along an oblique line of sight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refbench_immpi.network.network import SIDE
from refbench_immpi.views.posed import Posed, depth_range, knows_depths

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refbench import Scene
    from refbench_immpi.config import ImMPIConfig

    Floats = NDArray[np.float64]

STEEPEST = np.cos(np.radians(60.0))
"""Views that look more than 60 degrees off the vertical stay as they are: their image would be stretched too far."""
ROWS_TRIED = 48
LEAST_SCALE = 0.7


def turned(scene: Scene, config: ImMPIConfig) -> Callable[[Posed], Posed]:
    """Return what makes a reference of a view: it is turned to look straight down where the scene has a grid."""
    if not config.level or scene.grid is None:
        return lambda view: view
    return lambda view: nadir(view, scene, config.planes.margin)


def nadir(view: Posed, scene: Scene, margin: float) -> Posed:
    """Return a view turned to look straight down, cut to the largest upright rectangle that its image fills.

    The scene's z axis points up. Image size stays about the same; the range of depths is found anew, or bounded by the
    view's own where the scene knows no depths.
    """
    import cv2

    turn = straight_down(view)
    if turn is None:
        return view
    rows, cols = view.shape
    corners = np.array([[0, 0], [cols - 1, 0], [cols - 1, rows - 1], [0, rows - 1]], np.float64)
    rays = np.column_stack([corners, np.ones(4)]) @ np.linalg.inv(view.K).T @ turn.T
    if (rays[:, 2] <= 0.1 * np.linalg.norm(rays, axis=1)).any():
        return view
    left, top, right, bottom = inscribed(rays[:, :2] / rays[:, 2:])
    if right <= left or bottom <= top:
        return view
    focal = float(np.sqrt(rows * cols / ((right - left) * (bottom - top))))
    focal *= economical(focal * (bottom - top), focal * (right - left))
    size = max(2, round(focal * (right - left))), max(2, round(focal * (bottom - top)))
    K = np.array([[focal, 0, -focal * left - 0.5], [0, focal, -focal * top - 0.5], [0, 0, 1.0]])
    warp = K @ turn @ np.linalg.inv(view.K)
    image = np.ascontiguousarray(np.moveaxis(view.image, 0, -1))
    flags = cv2.INTER_LINEAR
    turned = cv2.warpPerspective(image, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    pose = np.eye(4)
    pose[:3] = turn @ view.E[:3]
    found = replace(view, image=np.ascontiguousarray(np.moveaxis(turned, -1, 0)), K=K, E=pose)
    if knows_depths(scene, view.name):
        near, far = depth_range(scene, found.camera, found.shape, view.name, margin)
    else:
        # Depth along the new axis is the old depth times the z of the turned ray of unit depth, which is linear in the
        # pixel: its extremes over the image are at the corners.
        near, far = view.near * float(rays[:, 2].min()), view.far * float(rays[:, 2].max())
    return replace(found, near=near, far=far)


def straight_down(view: Posed) -> Floats | None:
    """Return the rotation [3, 3] from a camera's frame to that of one that looks down; None for too oblique a view."""
    R = view.E[:3, :3]
    forward = R[2]
    if -forward[2] < STEEPEST:
        return None
    right = R[0] - R[0] @ np.array([0, 0, 1.0]) * np.array([0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.array([0, 0, -1.0])
    level = np.stack([right, np.cross(down, right), down])
    return np.asarray(level @ R.T)


def economical(rows: float, cols: float) -> float:
    """Return by how much to reduce an image, at most by LEAST_SCALE, so that little of what is padded is empty."""
    scales = [1.0, *(SIDE * np.floor(side / SIDE) / side for side in (rows, cols))]

    def waste(scale: float) -> float:
        sides = [round(scale * side) for side in (rows, cols)]
        whole = [SIDE * -(-side // SIDE) for side in sides]
        if max(whole) == SIDE:  # a single pixel in the smallest map has no statistics
            return np.inf
        return float(np.prod(whole) / np.prod(sides))

    return float(min((scale for scale in scales if scale >= LEAST_SCALE), key=waste))


def inscribed(corners: Floats) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the largest upright rectangle, among those tried, in a convex quad [4, 2]."""
    low, high = corners[:, 1].min(), corners[:, 1].max()
    levels = np.linspace(low, high, ROWS_TRIED + 2)[1:-1]
    spans = []
    for level in levels:
        crossings = []
        for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if (first[1] - level) * (second[1] - level) <= 0 and first[1] != second[1]:
                fraction = (level - first[1]) / (second[1] - first[1])
                crossings.append(first[0] + fraction * (second[0] - first[0]))
        spans.append((min(crossings), max(crossings)))
    best, area = (0.0, 0.0, 0.0, 0.0), 0.0
    for i in range(len(levels)):
        for j in range(i + 1, len(levels)):
            left, right = max(spans[i][0], spans[j][0]), min(spans[i][1], spans[j][1])
            found = (right - left) * (levels[j] - levels[i])
            if right > left and found > area:
                best, area = (float(left), float(levels[i]), float(right), float(levels[j])), found
    return best
