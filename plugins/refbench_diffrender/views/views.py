"""A scene's pinhole views for the refinement: images, matrices relative to a local origin, initial depths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import cv2
import numpy as np
import torch

from refbench import Context
from refbench.contracts.errors import InputError, UnsupportedError
from refbench.geometry.cameras import Pinhole, pinhole_of
from refbench.geometry.nodata_fill import filled
from refbench_diffrender.config import DiffrenderConfig
from refbench_diffrender.views.gl_cameras import FLIP, Intrinsics
from refbench_diffrender.views.initial_depth import (
    PLANE_ROOM,
    DepthSources,
    beyond_known,
    denoised,
    initial_depth,
    whole_surface,
)
from refbench_diffrender.views.visible_points import points_in_view, tracked_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import DSM, Scene
    from refbench.contracts.scene import View
    from refbench_diffrender.views.visible_points import ViewPoints

    Floats = NDArray[np.float64]

COLOURS = 3
GATE_FRACTION = 0.2
"""Of the sparse points, held out for a gate where nothing else is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneView:
    """``image`` float32 [rows, cols, 3] in [0, 1]; ``camera`` for that size; ``model_view`` [4, 4] from coordinates
    relative to ``origin``; ``depth`` float32 [rows, cols] initial, positive everywhere; ``known``: where it was given;
    ``points``: sparse points that it sees, and ``held_out``: those that nothing may use; None where there are none.
    """

    name: str
    image: NDArray[np.float32]
    camera: Pinhole
    model_view: Floats
    depth: NDArray[np.float32]
    known: NDArray[np.bool_]
    original: tuple[int, int]
    points: ViewPoints | None = None
    held_out: ViewPoints | None = None

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """Where nothing tells the depth: bool [rows, cols], see ``beyond_known``."""
        return beyond_known(self.known)

    @property
    def intrinsics(self) -> Intrinsics:
        """Focal lengths and principal point with the corner as origin."""
        K, (rows, cols) = self.camera.K, self.image.shape[:2]
        return Intrinsics(K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5, cols, rows)


def pinhole_views(scene: Scene) -> list[tuple[View, Pinhole]]:
    """Return the views with pinhole cameras in the order of their names; nothing is read.

    Raises
    ------
    UnsupportedError
        There are fewer than two.
    """
    found = [(view, pinhole_of(view.camera)) for _, view in sorted(scene.views.items())]
    views = [(view, camera) for view, camera in found if camera is not None]
    if len(views) < 2:
        raise UnsupportedError(
            f"Scene {scene.id} has {len(views)} of {len(scene.views)} views with a pinhole camera; depth maps need two "
            "or more that overlap; views by satellites (RPC, affine) refine an initial DSM: give one with --dsm."
        )
    return views


def scene_views(
    scene: Scene, config: DiffrenderConfig | None = None, context: Context | None = None
) -> tuple[SceneView, ...]:
    """Return the pinhole views of a scene with an initial depth each, in the order of their names.

    ``config`` tells what the depth comes from and how many points are held out, ``context`` has the seed.

    Raises
    ------
    UnsupportedError
        Fewer than two pinhole views, or nothing to start a depth map from.
    InputError
        As ``initial_depth``; an image of another size than its camera's.
    """
    config, context = config or DiffrenderConfig(), context or Context()
    views = pinhole_views(scene)
    origin = np.mean([camera.centre for _, camera in views], axis=0)
    surface = None if scene.dsm is None else whole_surface(scene.dsm.read())
    parts = _parted(scene, _held_fraction(scene, config), context)
    return tuple(_view(view, camera, origin, surface, parts, config, context) for view, camera in views)


def _held_fraction(scene: Scene, config: DiffrenderConfig) -> float:
    """Return the fraction of the sparse points that is held out: as asked for, or what a gate needs to tell."""
    if config.gate and not config.hold_out_points and scene.points is not None:
        return GATE_FRACTION
    return config.hold_out_points


def _parted(scene: Scene, fraction: float, context: Context) -> tuple[Floats, Floats] | None:
    """Return the sparse points [N, 3] that are used and those that are held out; None where there are none."""
    if scene.points is None:
        if fraction:
            raise UnsupportedError(f"Scene {scene.id} has no sparse points of which hold_out_points could keep some.")
        return None
    xyz = scene.points.read().xyz
    held = context.rng("held out points").random(len(xyz)) < fraction
    return xyz[~held], xyz[held]


def _view(
    view: View,
    camera: Pinhole,
    origin: Floats,
    surface: DSM | None,
    parts: tuple[Floats, Floats] | None,
    config: DiffrenderConfig,
    context: Context,
) -> SceneView:
    scaled, camera, original = _image(view, camera, config.most_pixels)
    shape = scaled.shape[0], scaled.shape[1]
    points, held = (None, None) if parts is None else (_seen(view, part, camera, shape) for part in parts)
    tracked = view.tie_points is not None
    rng = context.rng("alignment", view.name)
    sources = DepthSources(view, scaled, camera, surface, points, tracked, config, rng)
    depth = initial_depth(sources)
    known, whole = np.isfinite(depth), denoised(filled(depth), config.denoise, config.denoise_m)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.R, camera.t + camera.R @ origin
    return SceneView(
        view.name,
        scaled,
        camera,
        FLIP @ pose,
        whole.astype(np.float32),
        known,
        original,
        None if points is None else sources.visible(points, whole),
        None if held is None else sources.visible(held, whole),
    )


def _seen(view: View, part: Floats, camera: Pinhole, shape: tuple[int, int]) -> ViewPoints:
    """Return which of some points [N, 3] fall into a view; those that its tracks hold, where it has any."""
    if view.tie_points is None:
        return points_in_view(part, camera, shape)
    rows = {point.tobytes() for point in part}
    kept = np.array([point.tobytes() in rows for point in view.tie_points], bool)
    return tracked_points(view.tie_points[kept], camera, shape, view.name)


def _image(
    view: View, camera: Pinhole, most_pixels: int | None
) -> tuple[NDArray[np.float32], Pinhole, tuple[int, int]]:
    """Return a view's image [rows, cols, 3] in [0, 1] of at most so many pixels, its camera, and its first size."""
    image = view.image.read()
    pixels = image.pixels[:COLOURS] if len(image.pixels) >= COLOURS else np.repeat(image.pixels[:1], COLOURS, axis=0)
    if pixels.dtype.kind == "u":
        pixels = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    elif np.nanmin(pixels) < 0 or np.nanmax(pixels) > 1:
        raise InputError(f"The image of view {view.name} holds floats outside [0, 1]; give 8 or 16 bit integers.")
    scaled = np.ascontiguousarray(np.moveaxis(np.nan_to_num(pixels.astype(np.float32)), 0, -1))
    rows, cols = scaled.shape[:2]
    _check_size(view.name, camera, rows, cols)
    if most_pixels is not None and rows * cols > most_pixels:
        fraction = (most_pixels / (rows * cols)) ** 0.5
        size = max(8, round(cols * fraction)), max(8, round(rows * fraction))
        scaled = cv2.resize(scaled, size, interpolation=cv2.INTER_AREA)
        camera = camera.scaled(size[0] / cols, size[1] / rows)
    return scaled, camera, (rows, cols)


def _check_size(name: str, camera: Pinhole, rows: int, cols: int) -> None:
    """Refuse intrinsics of another image size."""
    given = camera.width or cols, camera.height or rows
    if given != (cols, rows):
        raise InputError(
            f"The image of view {name} has {cols} x {rows} px, its camera {given[0]} x {given[1]}: give the "
            "intrinsics of this image."
        )
    if not (0 <= camera.K[0, 2] < cols and 0 <= camera.K[1, 2] < rows):
        raise InputError(
            f"The principal point ({camera.K[0, 2]:g}, {camera.K[1, 2]:g}) of view {name} lies outside its image of "
            f"{cols} x {rows} px: its intrinsics belong to another size."
        )


class Named(Protocol):
    """Anything that has a view's name."""

    @property
    def name(self) -> str:
        """The view's name."""


AnyView = TypeVar("AnyView", bound=Named)


def parted_views(
    views: Sequence[AnyView], config: DiffrenderConfig
) -> tuple[list[AnyView], list[AnyView], list[AnyView]]:
    """Return the views that are refined, all that may be compared with, and those that are held out.

    Raises
    ------
    InputError
        ``views`` or ``held_out_views`` name a view that is not there, or both the same; nothing is left.
    """
    names = [view.name for view in views]
    for key, named in (("views", config.views), ("held_out_views", config.held_out_views)):
        if missing := [name for name in named if name not in names]:
            raise InputError(f"{key} names {missing[0]}, but the scene has {', '.join(names)}.")
    if both := [name for name in config.views if name in config.held_out_views]:
        raise InputError(f"{both[0]} cannot be refined and held out at once: take it out of views or held_out_views.")
    held = [view for view in views if view.name in config.held_out_views]
    compared = [view for view in views if view.name not in config.held_out_views]
    if len(compared) < 2:
        raise InputError(f"held_out_views leaves {len(compared)} of {len(views)} views; two or more are needed.")
    return [view for view in compared if not config.views or view.name in config.views], compared, held


def clip_planes(views: Sequence[SceneView]) -> tuple[float, float]:
    """Return clip planes before and behind all initial depths."""
    near = min(float(view.depth.min()) for view in views)
    far = max(float(view.depth.max()) for view in views)
    return (1 - PLANE_ROOM) * near, (1 + PLANE_ROOM) * far


def tensor(values: NDArray[np.floating], device: str = "cpu") -> torch.Tensor:
    """Return values as a float32 tensor on a device. The shape and the unit stay."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)
