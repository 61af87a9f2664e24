"""Depth maps + cameras -> points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.arrays import check_shape
from refbench.contracts.errors import InputError
from refbench.geometry.sample import bilinear, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera


def depth_to_points(
    depth: NDArray[np.floating], camera: Camera, keep: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return one scene point per pixel with a finite depth, float64 [N, 3], row by row.

    Parameters
    ----------
    depth
        [rows, cols], the camera's depth at pixel centres (z in scene units, not ray length); NaN is unknown.
    camera
        The camera of the depth map.
    keep
        bool [rows, cols]; pixels where it is False are left out.
    """
    check_shape("A depth map", depth, "rows cols")
    known = np.isfinite(depth) if keep is None else np.isfinite(depth) & keep
    row, col = (index.astype(np.float64) for index in np.nonzero(known))
    return camera.unproject(col, row, depth[known].astype(np.float64))


def agreeing_views(
    depths: Sequence[NDArray[np.floating]],
    cameras: Sequence[Camera],
    *,
    relative: float = 0.01,
    absolute: float = 0.0,
) -> list[NDArray[np.int64]]:
    """Return, for every pixel of every depth map, how many maps see a surface at its point (itself included).

    A point agrees with another map where its depth there differs from the map's by at most
    ``absolute + relative * |depth|``, the map read bilinearly or at the nearest pixel, whichever is closer.

    Parameters
    ----------
    depths, cameras
        As many of one as of the other; every map [rows, cols], NaN unknown.
    relative
        Share of the depth. For RPC, whose depth is minus the height, use 0 and an ``absolute`` tolerance.
    absolute
        Scene units.

    Returns
    -------
    One int64 [rows, cols] per map; 0 where it has no depth.

    Raises
    ------
    InputError
        Another number of cameras than of maps.
    """
    if len(depths) != len(cameras):
        raise InputError(f"{len(depths)} depth maps need as many cameras, got {len(cameras)}.")
    counts = [np.isfinite(depth).astype(np.int64) for depth in depths]
    for mine, (depth, camera) in enumerate(zip(depths, cameras, strict=True)):
        points = depth_to_points(depth, camera)
        known = np.isfinite(depth)
        for other in range(len(depths)):
            if other != mine:
                counts[mine][known] += _agrees(points, depths[other], cameras[other], relative, absolute)
    return counts


def _agrees(
    points: NDArray[np.float64],
    depth: NDArray[np.floating],
    camera: Camera,
    relative: float,
    absolute: float,
) -> NDArray[np.bool_]:
    """Return where points [N, 3] lie on the surface that a depth map sees, bool [N]."""
    col, row, expected = camera.project(points)
    smooth, stepped = bilinear(depth, col, row), nearest(depth, col, row).astype(np.float64)
    distance = np.fmin(np.abs(smooth - expected), np.abs(stepped - expected))
    # NaN (no depth there, or out of sight) compares false.
    return np.asarray(distance <= absolute + relative * np.abs(expected))


def fuse_depths(
    depths: Sequence[NDArray[np.floating]],
    cameras: Sequence[Camera],
    *,
    min_views: int = 2,
    relative: float = 0.01,
    absolute: float = 0.0,
) -> NDArray[np.float64]:
    """Return the points of all depth maps that at least ``min_views`` of them agree on, float64 [N, 3].

    With ``min_views`` 1 every point is kept. See ``agreeing_views`` for the other parameters and the errors.
    """
    if min_views <= 1:
        parts = [depth_to_points(depth, camera) for depth, camera in zip(depths, cameras, strict=True)]
    else:
        counts = agreeing_views(depths, cameras, relative=relative, absolute=absolute)
        views = zip(depths, cameras, counts, strict=True)
        parts = [depth_to_points(depth, camera, count >= min_views) for depth, camera, count in views]
    return np.concatenate(parts) if parts else np.zeros((0, 3))
