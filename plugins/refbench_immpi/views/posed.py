"""Posed views of a scene: images in [0, 1], cameras, and the depths between which planes are placed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError, UnsupportedError
from refbench.geometry.cameras import Pinhole, pinhole_of, scaled_intrinsics
from refbench.geometry.depth import render_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import DSM, Image, Scene
    from refbench.contracts.camera import Camera

    Floats = NDArray[np.float64]

BANDS = 3
QUANTILES = (0.005, 0.995)
"""Of the depths of sparse points or of a rendered DSM: the few beyond them are outliers."""
MIN_POINTS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """One view. ``image`` float32 [3, h, w] in [0, 1]; ``K`` [3, 3] in pixels, centres at integers.

    ``E`` float64 [4, 4] world to camera, OpenCV axes; ``near`` and ``far`` in scene units, z.
    """

    name: str
    image: NDArray[np.float32]
    K: Floats
    E: Floats
    near: float
    far: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.image.shape[1:]
        return int(rows), int(cols)

    @property
    def camera(self) -> Pinhole:
        """The camera as the core's."""
        rows, cols = self.shape
        return Pinhole(self.K, self.E[:3, :3], self.E[:3, 3], cols, rows)

    def scaled(self, most_pixels: int | None) -> Posed:
        """Return the view with at most so many pixels, its image averaged over areas; None keeps it."""
        import cv2

        rows, cols = self.shape
        if most_pixels is None or rows * cols <= most_pixels:
            return self
        factor = (most_pixels / (rows * cols)) ** 0.5
        size = max(1, round(cols * factor)), max(1, round(rows * factor))
        image = cv2.resize(np.ascontiguousarray(np.moveaxis(self.image, 0, -1)), size, interpolation=cv2.INTER_AREA)
        return replace(
            self,
            image=np.ascontiguousarray(np.moveaxis(image, -1, 0)),
            K=scaled_intrinsics(self.K, size[0] / cols, size[1] / rows),
        )


def relative_pose(reference: Posed, target: Posed) -> NDArray[np.float64]:
    """Return the transform [4, 4] from the reference camera's frame to the target camera's."""
    return np.asarray(target.E @ np.linalg.inv(reference.E))


def posed_views(scene: Scene, margin: float = 0.05) -> tuple[Posed, ...]:
    """Return the perspective views of a scene in the order of their names, each with its range of depths.

    The range comes from the view's own file, else from the initial DSM seen by its camera, else from the scene's
    points, widened by ``margin`` of itself on both sides.

    Raises
    ------
    UnsupportedError
        Fewer than two pinhole views, or nothing that tells how far away the scene is.
    InputError
        Images of different sizes.
    """
    found = []
    for name, camera in pinhole_cameras(scene).items():
        view = scene.views[name]
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.R, camera.t
        held = view.depth_range
        near, far = depth_range(scene, camera, view.image.shape, name, margin) if held is None else map(float, held)
        found.append(Posed(name, image_of(view.image.read(), name), np.array(camera.K), pose, near, far))
    return tuple(found)


def pinhole_cameras(scene: Scene) -> dict[str, Pinhole]:
    """Return the pinhole cameras of a scene's views in the order of their names; nothing is read.

    Raises
    ------
    UnsupportedError
        There are fewer than two.
    """
    pinholes = {name: pinhole_of(view.camera) for name, view in sorted(scene.views.items())}
    cameras = {name: camera for name, camera in pinholes.items() if camera is not None}
    if len(cameras) < 2:
        raise UnsupportedError(
            f"Scene {scene.id} has {len(cameras)} views with a pinhole camera; multiplane images need two that overlap."
        )
    return cameras


def image_of(image: Image, name: str) -> NDArray[np.float32]:
    """Return an image as float32 [3, rows, cols] in [0, 1]; a grey one is repeated, invalid pixels are black.

    Raises
    ------
    InputError
        Floating point values outside [0, 1], or two bands.
    """
    pixels: NDArray[Any] = image.pixels
    if pixels.dtype.kind == "u":
        values = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    else:
        values = pixels.astype(np.float32)
        if np.nanmin(values) < 0 or np.nanmax(values) > 1:
            raise InputError(f"The image of view {name} holds floats outside [0, 1]; give 8 or 16 bit integers.")
    if len(values) not in (1, BANDS) and len(values) < BANDS:
        raise InputError(f"The image of view {name} has {len(values)} bands; give one or three.")
    values = values[:BANDS] if len(values) >= BANDS else np.repeat(values, BANDS, axis=0)
    return np.ascontiguousarray(values if image.valid is None else np.where(image.valid, values, np.float32(0)))


def depth_range(scene: Scene, camera: Camera, shape: tuple[int, int], name: str, margin: float) -> tuple[float, float]:
    """Return nearest and farthest depth that a camera sees, see ``posed_views``.

    Raises
    ------
    UnsupportedError
        Nothing tells the range.
    """
    depths = _seen_depths(scene, camera, shape, name)
    known = depths[np.isfinite(depths) & (depths > 0)]
    if known.size < MIN_POINTS:
        raise UnsupportedError(
            f"Scene {scene.id}: view {name} sees {known.size} known depths; planes need {MIN_POINTS}."
        )
    near, far = (float(value) for value in np.quantile(known, QUANTILES))
    room = margin * max(far - near, 1e-3 * far)
    return max(near - room, 0.05 * near), far + room


def knows_depths(scene: Scene, name: str) -> bool:
    """Return whether the scene itself tells depths of a view: a DSM, points or the view's depth map."""
    view = scene.views.get(name)
    return scene.dsm is not None or scene.points is not None or (view is not None and view.depth is not None)


def _seen_depths(scene: Scene, camera: Camera, shape: tuple[int, int], name: str) -> Floats:
    if scene.dsm is not None:
        return render_depth(coarse(scene.dsm.read()), camera, shape)
    if scene.points is not None:
        col, row, depths = camera.project(scene.points.read().xyz)
        rows, cols = shape
        return np.asarray(depths[(depths > 0) & (col >= 0) & (row >= 0) & (col < cols) & (row < rows)])
    view = scene.views.get(name)
    if view is not None and view.depth is not None:
        return np.asarray(view.depth.read().pixels[0], np.float64)
    raise UnsupportedError(
        f"Scene {scene.id}: cannot determine a depth range for view {name}; give an initial DSM, points, or a range of "
        "depths in its camera file."
    )


def image_at(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return [rows, cols] or [bands, rows, cols] at another size, bilinear; NaN spreads to what it touches.

    In the unit of the image, such as colours in [0, 1] or metres.
    """
    import cv2

    if image.shape[-2:] == shape:
        return image
    bands = image.reshape(-1, *image.shape[-2:])
    grown = [cv2.resize(band, shape[::-1], interpolation=cv2.INTER_LINEAR) for band in bands]
    return np.stack(grown).astype(np.float32).reshape(*image.shape[:-2], *shape)


MOST_SURFACE_PX = 256


def coarse(dsm: DSM) -> DSM:
    """Return a DSM of at most 256 x 256 pixels for looking up depths: every n-th pixel."""
    from affine import Affine

    from refbench import DSM as Surface
    from refbench import Grid

    step = -(-max(dsm.grid.shape) // MOST_SURFACE_PX)
    if step == 1:
        return dsm
    heights = dsm.heights[::step, ::step]
    a, b, c, d, e, f = tuple(dsm.grid.transform)[:6]
    # Every n-th centre stays where it is: the corner of the first larger pixel moves.
    shift = (1 - step) / 2
    transform = Affine(a * step, b * step, c + (a + b) * shift, d * step, e * step, f + (d + e) * shift)
    return Surface(heights.copy(), Grid(heights.shape[1], heights.shape[0], transform, dsm.grid.crs, dsm.grid.vertical))


def baseline_planes(reference: Posed, target: Posed) -> bool:
    """Return whether no plane of the reference passes through the target's centre or behind it."""
    pose = relative_pose(reference, target)
    centre = -pose[:3, :3].T @ pose[:3, 3]
    return bool(centre[2] < reference.near)
