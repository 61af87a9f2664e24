"""Stereo pair -> points: OpenCV semi-global matching in a frame on the ground, triangulation with the cameras.

Both images are resampled to one horizontal plane, turned so that height moves a point along the rows only. This needs
nothing but ``Camera.project``, so RPC, affine and far pinhole cameras are all served. It is exact for parallel
projection; over a block of ``BLOCK`` px a satellite camera is parallel to a small part of a pixel. Pairs for which it
is not (close-range views) are refused.

OpenCV's sub-pixel estimate is drawn towards whole disparities, by up to a quarter of a pixel on clean images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.contracts.errors import InputError, UnsupportedError
from refbench.geometry.disparity import disparity
from refbench.geometry.match_options import MatchOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Bounds

    F8 = NDArray[np.float64]

BLOCK = 640
"""Side of a matched block in pixels, without its overlap: bounds memory and the departure from parallel projection."""
OVERLAP = 48
MAX_ROW_PARALLAX_PX = 0.75
MAX_UNEVEN = 0.05
"""How unevenly a metre of height may move points over a block, as a share."""
STEPS = 3
_STEP_M = 0.5
"""Step of the numerical derivatives of a projection, metres."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Triangulated matches: ``xyz`` float64 [N, 3] scene metres and the pixel (col, row) float64 [N, 2] in image A.

    ``residual`` float64 [N] is the distance in pixels between the observed and the projected positions, root mean
    square over both images: as both lie on one row of the frame it tells how far the pair is from parallel projection,
    not how good a match is.
    """

    xyz: F8
    pixel: F8
    residual: F8


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """A turned raster on the plane z = ``height``: pixel (0, 0) at ``corner``, columns along ``along``."""

    corner: F8
    along: F8
    across: F8
    step: float
    height: float
    shape: tuple[int, int]
    metres_per_px: float
    """Height that one pixel of disparity stands for."""

    def points(self, cols: F8, rows: F8) -> F8:
        """Return the points [..., 3] on the plane."""
        xy = self.corner + self.step * (cols[..., None] * self.along + rows[..., None] * self.across)
        return np.concatenate([xy, np.full((*cols.shape, 1), self.height)], axis=-1)


def match_pair(
    image_a: NDArray[np.generic],
    image_b: NDArray[np.generic],
    camera_a: Camera,
    camera_b: Camera,
    bounds: Bounds,
    heights: tuple[float, float],
    *,
    gsd: float | None = None,
    options: MatchOptions | None = None,
) -> Matches:
    """Match two images and triangulate.

    Parameters
    ----------
    image_a, image_b
        Single-band images [rows, cols] of any number type; NaN counts as dark.
    camera_a, camera_b
        Their cameras, in scene coordinates.
    bounds
        The rectangle of the scene to match, metres.
    heights
        Lowest and highest height to search, metres.
    gsd
        Pixel of the matching frame in metres; None takes the mean footprint of the two images' pixels.
    options
        Options of the matcher.

    Raises
    ------
    InputError
        An image that is not single-band, or an empty height range.
    UnsupportedError
        The two views hardly differ in direction, or height does not move points along one line.
    """
    if image_a.ndim != 2 or image_b.ndim != 2:
        raise InputError(f"Stereo matching takes single-band images, got shapes {image_a.shape} and {image_b.shape}.")
    low, high = heights
    if not low < high:
        raise InputError(f"The height range {low:g} to {high:g} m is empty; give the lowest height first.")
    options = options or MatchOptions()
    bytes_a, bytes_b = _to_bytes(image_a), _to_bytes(image_b)
    step = gsd or _footprint(camera_a, camera_b, bounds, low)
    parts = [
        _match_block(bytes_a, bytes_b, camera_a, camera_b, frame, high, options)
        for frame in _frames(camera_a, camera_b, bounds, heights, step)
    ]
    xyz = np.concatenate([part.xyz for part in parts])
    inside = (xyz[:, 0] >= bounds.west) & (xyz[:, 0] < bounds.east)
    inside &= (xyz[:, 1] >= bounds.south) & (xyz[:, 1] < bounds.north)
    pixel = np.concatenate([part.pixel for part in parts])
    residual = np.concatenate([part.residual for part in parts])
    return Matches(xyz[inside], pixel[inside], residual[inside])


def _to_bytes(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Stretch an image to 8 bits between its 0.5 and 99.5 percent quantiles."""
    values = np.nan_to_num(image.astype(np.float32), nan=0.0)
    low, high = np.quantile(values, (0.005, 0.995))
    scaled: NDArray[np.uint8] = np.clip((values - low) * (255.0 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    return scaled


def _pixel(camera: Camera, xyz: F8) -> F8:
    """Return the pixel [..., 2] of points [..., 3]."""
    col, row, _ = camera.project(xyz)
    return np.stack([col, row], axis=-1)


def _jacobian(camera: Camera, xyz: F8) -> F8:
    """Return d(col, row) / d(x, y, z), [..., 2, 3], by central differences."""
    columns = []
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = _STEP_M
        columns.append((_pixel(camera, xyz + shift) - _pixel(camera, xyz - shift)) / (2 * _STEP_M))
    return np.stack(columns, axis=-1)


def _lean(camera: Camera, xyz: F8) -> F8:
    """Return the move (dx, dy) on the ground that a metre of height looks like to the camera at ``xyz`` [3]."""
    jacobian = _jacobian(camera, xyz)
    return np.asarray(np.linalg.solve(jacobian[:, :2], jacobian[:, 2]))


def _footprint(camera_a: Camera, camera_b: Camera, bounds: Bounds, height: float) -> float:
    centre = np.array([(bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2, height])
    areas = [abs(float(np.linalg.det(_jacobian(camera, centre)[:, :2]))) for camera in (camera_a, camera_b)]
    return float(np.mean([area**-0.5 for area in areas]))


def _frames(
    camera_a: Camera, camera_b: Camera, bounds: Bounds, heights: tuple[float, float], step: float
) -> Iterator[_Frame]:
    """Yield the frames of square cells that cover the bounds."""
    reach = BLOCK * step
    cols = max(1, int(np.ceil((bounds.east - bounds.west) / reach)))
    rows = max(1, int(np.ceil((bounds.north - bounds.south) / reach)))
    width, height = (bounds.east - bounds.west) / cols, (bounds.north - bounds.south) / rows
    for row in range(rows):
        for col in range(cols):
            centre = np.array([bounds.west + (col + 0.5) * width, bounds.south + (row + 0.5) * height])
            yield _frame(camera_a, camera_b, centre, (width, height), heights, step)


def _frame(
    camera_a: Camera,
    camera_b: Camera,
    centre: F8,
    size: tuple[float, float],
    heights: tuple[float, float],
    step: float,
) -> _Frame:
    low, high = heights
    middle = np.append(centre, (low + high) / 2)
    lean_a, lean_b = _lean(camera_a, middle), _lean(camera_b, middle)
    parallax = lean_a - lean_b
    ratio = float(np.hypot(*parallax))
    if ratio < 0.02:
        raise UnsupportedError(
            f"The two views differ by a base-to-height ratio of only {ratio:.3f}; matching needs 0.02."
        )
    along = parallax / ratio
    across = np.array([along[1], -along[0]])
    # Half extents of the cell in the turned frame; what leans in from above needs room besides.
    half = np.abs(np.stack([along, across])) @ (np.array(size) / 2)
    room = OVERLAP * step + (high - low) * max(float(np.hypot(*lean_a)), float(np.hypot(*lean_b)))
    half = half + room
    count = np.ceil(2 * half / step).astype(int)
    corner = centre - half[0] * along - half[1] * across
    frame = _Frame(corner, along, across, step, low, (int(count[1]), int(count[0])), step / ratio)
    _check_parallel(camera_a, camera_b, frame, high)
    return frame


def _check_parallel(camera_a: Camera, camera_b: Camera, frame: _Frame, high: float) -> None:
    """Refuse a pair in which points above the plane leave their row of the frame, or move unevenly along it."""
    rows, cols = frame.shape
    grid = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 3) * cols, np.linspace(0.2, 0.8, 3) * rows), axis=-1)
    ground = frame.points(grid[..., 0], grid[..., 1]).reshape(-1, 3)
    raised = ground + np.array([0.0, 0.0, high - frame.height])
    on_plane = []
    for camera in (camera_a, camera_b):
        move = _pixel(camera, raised) - _pixel(camera, ground)
        on_plane.append(np.linalg.solve(_jacobian(camera, ground)[..., :2], move[..., None])[..., 0])
    parallax = (on_plane[0] - on_plane[1]) / frame.step
    expected = (high - frame.height) / frame.metres_per_px
    off_row = float(np.abs(parallax @ frame.across).max())
    uneven = float(np.abs(parallax @ frame.along / expected - 1).max())
    if off_row > MAX_ROW_PARALLAX_PX or uneven > MAX_UNEVEN:
        raise UnsupportedError(
            f"Height moves points up to {off_row:.1f} px off the epipolar rows and {100 * uneven:.0f} % unevenly; "
            f"stereo matching here is for far cameras (at most {MAX_ROW_PARALLAX_PX} px and {100 * MAX_UNEVEN:.0f} %)."
        )


def _match_block(
    image_a: NDArray[np.uint8],
    image_b: NDArray[np.uint8],
    camera_a: Camera,
    camera_b: Camera,
    frame: _Frame,
    high: float,
    options: MatchOptions,
) -> Matches:
    cols, rows = np.meshgrid(np.arange(frame.shape[1], dtype=np.float64), np.arange(frame.shape[0], dtype=np.float64))
    plane = frame.points(cols, rows)
    pixel_a, pixel_b = _pixel(camera_a, plane), _pixel(camera_b, plane)
    warped_a, inside_a = _resample(image_a, pixel_a)
    warped_b, inside_b = _resample(image_b, pixel_b)
    search = int(np.ceil((high - frame.height) / frame.metres_per_px)) + 4
    shifts = disparity(warped_a, warped_b, 16 * -(-search // 16), options)
    found = np.isfinite(shifts) & inside_a
    source = np.round(cols - np.where(found, shifts, 0)).astype(np.int64).clip(0, frame.shape[1] - 1)
    found &= inside_b[rows.astype(np.int64), source]
    shift = shifts[found].astype(np.float64)
    at_a = pixel_a[found]
    at_b = _pixel(camera_b, frame.points(cols[found] - shift, rows[found]))
    start = frame.points(cols[found], rows[found])
    start[:, 2] += shift * frame.metres_per_px
    xyz, residual = triangulate(camera_a, camera_b, at_a, at_b, start)
    return Matches(xyz, at_a, residual)


def _resample(image: NDArray[np.uint8], pixel: F8) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    maps = pixel.astype(np.float32)
    warped = cv2.remap(image, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    rows, cols = image.shape
    inside = (pixel[..., 0] >= 0) & (pixel[..., 0] <= cols - 1) & (pixel[..., 1] >= 0) & (pixel[..., 1] <= rows - 1)
    return np.asarray(warped, np.uint8), inside


def triangulate(camera_a: Camera, camera_b: Camera, at_a: F8, at_b: F8, start: F8) -> tuple[F8, F8]:
    """Return the points that two far cameras see at two pixels, by least squares.

    Parameters
    ----------
    camera_a, camera_b
        Cameras far away compared with the extent of the points: one derivative serves all points of a call.
    at_a, at_b
        Pixels (col, row) float64 [N, 2].
    start
        Where to start, float64 [N, 3] scene metres; tens of metres off do no harm.

    Returns
    -------
    xyz, residual
        Points float64 [N, 3] and the root mean square of the pixel residuals float64 [N].
    """
    if not len(start):
        return start.copy(), np.zeros(0)
    middle = start.mean(axis=0)
    inverse = np.linalg.pinv(np.concatenate([_jacobian(camera_a, middle), _jacobian(camera_b, middle)]))
    observed = np.concatenate([at_a, at_b], axis=1)
    xyz = start
    for _ in range(STEPS):
        gap = observed - np.concatenate([_pixel(camera_a, xyz), _pixel(camera_b, xyz)], axis=1)
        xyz = xyz + gap @ inverse.T
    # What the last step left is far below the residual that no point can remove.
    rest = gap - gap @ inverse.T @ np.linalg.pinv(inverse).T
    return xyz, np.sqrt((rest**2).mean(axis=1))
