"""The points of one pair over one rectangle: the parts of both images that show it, matched and triangulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window
from refbench.geometry.biased_camera import BiasedCamera
from refbench.geometry.stereo import match_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.bridges.pair_choice import RankedPair
    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Bounds
    from refbench.contracts.scene import View
    from refbench.geometry.match_options import MatchOptions

    Floats = NDArray[np.float64]

ROOM_PX = 64
"""What is read of an image reaches so far beyond the rectangle."""


def pair_points(
    pair: RankedPair,
    bounds: Bounds,
    heights: tuple[float, float],
    *,
    gsd: float | None = None,
    options: MatchOptions,
) -> Floats:
    """Return points float64 [N, 3] of a pair inside ``bounds``; none where one image does not show them.

    Parameters
    ----------
    pair
        The two views; cameras without perspective.
    bounds, heights
        Rectangle and range of heights to match, metres.
    gsd
        Pixel of the matching frame in metres; None takes the images' own.
    options
        Options of the matcher.

    Raises
    ------
    UnsupportedError
        See ``refbench.geometry.stereo.match_pair``.
    """
    parts = [_part(view, bounds, heights) for view in (pair.first, pair.second)]
    if any(part is None for part in parts):
        return np.zeros((0, 3))
    (first, camera_a), (second, camera_b) = (part for part in parts if part is not None)
    return match_pair(first, second, camera_a, camera_b, bounds, heights, gsd=gsd, options=options).xyz


def _part(view: View, bounds: Bounds, heights: tuple[float, float]) -> tuple[NDArray[np.float32], Camera] | None:
    """Return the grey part [rows, cols] of an image that shows a box, and its camera; None where there is none."""
    x, y, z = (v.ravel() for v in np.meshgrid((bounds.west, bounds.east), (bounds.south, bounds.north), heights))
    col, row, _ = view.camera.project(np.stack([x, y, z], axis=1))
    if not (np.isfinite(col).all() and np.isfinite(row).all()):
        return None
    west, north = int(col.min()) - ROOM_PX, int(row.min()) - ROOM_PX
    rows, cols = view.image.shape
    around = Window(west, north, int(col.max()) + ROOM_PX - west, int(row.max()) + ROOM_PX - north)
    window = around.intersection(Window(0, 0, cols, rows))
    if window is None or min(window.width, window.height) < ROOM_PX:
        return None
    image = view.image.read(window)
    grey = image.pixels.astype(np.float32).mean(axis=0)
    if image.valid is not None:
        grey = np.where(image.valid, grey, np.float32(np.nan))
    return grey, BiasedCamera(view.camera, (-window.col_off, -window.row_off))
