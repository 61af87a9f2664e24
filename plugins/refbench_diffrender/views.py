"""A scene's pinhole views for the refinement: pictures, matrices relative to a local origin, initial depths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from scipy import interpolate, ndimage

from refbench import DSM
from refbench.contracts.errors import InputError, UnsupportedError
from refbench.geometry.cameras import Pinhole
from refbench.geometry.depth import render_depth
from refbench_diffrender.official_cameras import FLIP, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import Scene
    from refbench.contracts.scene import View

    Floats = NDArray[np.float64]

COLOURS = 3
MIN_POINTS = 20
PLANE_ROOM = 0.3
"""By how much clip planes lie before the nearest and behind the farthest depth, as a share of these."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneView:
    """``image`` float32 [rows, cols, 3] in [0, 1]; ``camera`` for that size; ``model_view`` [4, 4] from coordinates
    relative to ``origin``; ``depth`` float32 [rows, cols] initial, positive everywhere; ``known``: where it was given.
    """

    name: str
    image: NDArray[np.float32]
    camera: Pinhole
    model_view: Floats
    depth: NDArray[np.float32]
    known: NDArray[np.bool_]
    original: tuple[int, int]

    @property
    def intrinsics(self) -> Intrinsics:
        """Focal lengths and principal point with the corner as origin."""
        K, (rows, cols) = self.camera.K, self.image.shape[:2]
        return Intrinsics(K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5, cols, rows)


def scene_views(scene: Scene, most_pixels: int | None) -> tuple[SceneView, ...]:
    """Return the pinhole views of a scene with an initial depth each, in the order of their names.

    The depth is the view's own, else the initial DSM's, else what lies between the sparse points that the view sees.

    Raises
    ------
    UnsupportedError
        Fewer than two pinhole views, or nothing to start a depth map from.
    """
    views = {name: view for name, view in sorted(scene.views.items()) if isinstance(view.camera, Pinhole)}
    if len(views) < 2:
        raise UnsupportedError(
            f"Scene {scene.id} has {len(views)} views with a pinhole camera; differentiable rendering compares two or "
            "more that overlap."
        )
    origin = np.mean([view.camera.centre for view in views.values()], axis=0)
    surface = None if scene.dsm is None else _filled(scene.dsm.read())
    return tuple(_view(scene, view, origin, surface, most_pixels) for view in views.values())


def _view(scene: Scene, view: View, origin: Floats, surface: DSM | None, most_pixels: int | None) -> SceneView:
    image = view.image.read()
    pixels = image.pixels[:COLOURS] if len(image.pixels) >= COLOURS else np.repeat(image.pixels[:1], COLOURS, axis=0)
    if pixels.dtype.kind == "u":
        pixels = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    elif np.nanmin(pixels) < 0 or np.nanmax(pixels) > 1:
        raise InputError(f"The picture of view {view.name} holds floats outside [0, 1]; give 8 or 16 bit integers.")
    picture = np.ascontiguousarray(np.moveaxis(np.nan_to_num(pixels.astype(np.float32)), 0, -1))
    rows, cols = picture.shape[:2]
    camera = view.camera
    assert isinstance(camera, Pinhole)  # others were left out
    if most_pixels is not None and rows * cols > most_pixels:
        share = (most_pixels / (rows * cols)) ** 0.5
        size = max(8, round(cols * share)), max(8, round(rows * share))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        camera = _scaled(camera, (rows, cols), picture.shape[:2])
    depth, known = _initial(scene, view, camera, surface, (picture.shape[0], picture.shape[1]))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.R, camera.t + camera.R @ origin
    return SceneView(view.name, picture, camera, FLIP @ pose, depth, known, (rows, cols))


def _scaled(camera: Pinhole, before: tuple[int, int], after: Sequence[int]) -> Pinhole:
    K = np.array(camera.K)
    for axis, (old, new) in enumerate(((before[1], after[1]), (before[0], after[0]))):
        share = new / old
        K[axis, :2] *= share
        K[axis, 2] = (camera.K[axis, 2] + 0.5) * share - 0.5
    return Pinhole(K, camera.R, camera.t, int(after[1]), int(after[0]))


def _initial(
    scene: Scene, view: View, camera: Pinhole, surface: DSM | None, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return an initial depth without holes, and where it was given."""
    if view.depth is not None:
        held = view.depth.read()
        depth = held.pixels[0].astype(np.float64)
        depth = depth if held.valid is None else np.where(held.valid, depth, np.nan)
        depth = cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_NEAREST) if depth.shape != shape else depth
    elif surface is not None:
        depth = render_depth(surface, camera, shape)
    elif scene.points is not None:
        depth = _between(scene, view, camera, shape)
    else:
        raise UnsupportedError(
            f"Scene {scene.id}: view {view.name} has nothing to start from: it needs a depth map, an initial DSM or "
            "sparse points."
        )
    known = np.isfinite(depth) & (depth > 0)
    if known.sum() < MIN_POINTS:
        raise UnsupportedError(f"Scene {scene.id}: view {view.name} has {known.sum()} known depths to start from.")
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return depth[tuple(nearest)].astype(np.float32), known


def _between(scene: Scene, view: View, camera: Pinhole, shape: tuple[int, int]) -> Floats:
    """Return depths between the sparse points that fall into a view; NaN beyond their hull."""
    assert scene.points is not None  # the caller looked
    col, row, depth = camera.project(scene.points.read().xyz)
    seen = (depth > 0) & (col >= 0) & (row >= 0) & (col <= shape[1] - 1) & (row <= shape[0] - 1)
    if seen.sum() < MIN_POINTS:
        raise UnsupportedError(f"Scene {scene.id}: view {view.name} sees {seen.sum()} points; {MIN_POINTS} are needed.")
    inverse = interpolate.LinearNDInterpolator(np.column_stack([col[seen], row[seen]]), 1 / depth[seen])
    down, across = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(1 / inverse(across, down), np.float64)


def _filled(dsm: DSM) -> DSM:
    """Return a DSM whose holes hold the nearest height."""
    known = dsm.valid
    if not known.any():
        raise UnsupportedError("The initial DSM has no height at all.")
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return DSM(np.ascontiguousarray(dsm.heights[tuple(nearest)]), dsm.grid)


def clip_planes(views: Sequence[SceneView]) -> tuple[float, float]:
    """Return clip planes before and behind all initial depths."""
    near = min(float(view.depth.min()) for view in views)
    far = max(float(view.depth.max()) for view in views)
    return (1 - PLANE_ROOM) * near, (1 + PLANE_ROOM) * far


def nearest_views(own: SceneView, views: Sequence[SceneView], number: int) -> list[SceneView]:
    """Return the other views that look from nearest by at what a view sees, nearest first; 0: all."""
    rows, cols = own.image.shape[:2]
    middle = own.camera.unproject(np.array(cols / 2), np.array(rows / 2), np.array(float(np.median(own.depth))))

    def angle(view: SceneView) -> float:
        rays = [v.camera.centre - middle for v in (own, view)]
        cosine = rays[0] @ rays[1] / (np.linalg.norm(rays[0]) * np.linalg.norm(rays[1]))
        return float(np.arccos(np.clip(cosine, -1, 1)))

    others = sorted((view for view in views if view.name != own.name), key=lambda view: (angle(view), view.name))
    return others if number == 0 else others[:number]


def tensor(values: NDArray[np.floating]) -> torch.Tensor:
    """Return float32 values as a tensor of their own."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
