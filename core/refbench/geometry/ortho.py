"""Image + camera + DSM -> orthophoto on the DSM's grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window
from refbench.contracts.raster import Image
from refbench.geometry.depth import render_window
from refbench.geometry.sample import bilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.raster import DSM

BLOCK_ROWS = 256


def orthorectify(
    image: Image, camera: Camera, dsm: DSM, *, occlusion: bool = False, tolerance: float | None = None
) -> Image:
    """Return an image rectified over a DSM, bilinearly, on the DSM's grid.

    Parameters
    ----------
    image
        In camera pixels, [bands, rows, cols].
    camera
        The image's camera; its scene coordinates are those of the DSM.
    dsm
        Heights in the vertical reference of the camera (ellipsoidal for an RPC).
    occlusion
        Whether to leave out ground that other parts of the DSM hide from the camera. Without it such ground shows
        what hides it, as in most published data sets.
    tolerance
        How much deeper than the visible surface a pixel may lie, in the unit of the camera's depth; one DSM pixel
        if not given.

    Returns
    -------
    float32 [bands, rows, cols] with NaN, and ``valid`` False, where the DSM is unknown, the image does not reach,
    a contributing pixel is invalid, or the ground is hidden.
    """
    pixels = image.pixels
    if image.valid is not None and not image.valid.all():
        pixels = np.where(image.valid, pixels, np.nan)
    hidden = _Occlusion(image, camera, dsm, dsm.grid.gsd if tolerance is None else tolerance) if occlusion else None
    out = np.empty((pixels.shape[0], *dsm.grid.shape), np.float32)
    for first in range(0, dsm.grid.height, BLOCK_ROWS):
        rows = slice(first, min(first + BLOCK_ROWS, dsm.grid.height))
        col, row, depth = camera.project(_surface(dsm, rows))
        out[:, rows] = bilinear(pixels, col, row)
        if hidden is not None:
            out[:, rows][:, hidden.at(col, row, depth)] = np.nan
    return Image(out, dsm.grid, image.band_names, np.asarray(np.isfinite(out).all(axis=0)))


def _surface(dsm: DSM, rows: slice) -> NDArray[np.float64]:
    """Return the surface points [rows, cols, 3] at the pixel centres of some rows."""
    x, y = dsm.grid.window(Window(0, rows.start, dsm.grid.width, rows.stop - rows.start)).centres()
    return np.stack([x, y, dsm.heights[rows].astype(np.float64)], axis=-1)


class _Occlusion:
    """The depth map of the DSM over the part of the image that shows it."""

    def __init__(self, image: Image, camera: Camera, dsm: DSM, tolerance: float) -> None:
        self.tolerance = tolerance
        self.window = self._window(image, camera, dsm)
        self.depth = None if self.window is None else render_window(dsm, camera, self.window)

    @staticmethod
    def _window(image: Image, camera: Camera, dsm: DSM) -> Window | None:
        """Return the window of the image that the DSM falls on."""
        corners: list[NDArray[np.float64]] = []
        for first in range(0, dsm.grid.height, BLOCK_ROWS):
            col, row, _ = camera.project(_surface(dsm, slice(first, min(first + BLOCK_ROWS, dsm.grid.height))))
            seen = np.isfinite(col) & np.isfinite(row)
            if seen.any():
                corners += [np.array([f(col[seen]), f(row[seen])]) for f in (np.min, np.max)]
        if not corners:
            return None
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        west, north = math.floor(low[0]), math.floor(low[1])
        around = Window(west, north, math.ceil(high[0]) - west + 1, math.ceil(high[1]) - north + 1)
        return around.intersection(Window(0, 0, image.shape[1], image.shape[0]))

    def at(self, col: NDArray[np.float64], row: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return where points are hidden: deeper than the deepest of the four pixels around them."""
        if self.window is None or self.depth is None:
            return np.zeros(col.shape, np.bool_)
        deepest = np.full(col.shape, -np.inf)
        for down in (0, 1):
            for right in (0, 1):
                at_col = np.floor(np.nan_to_num(col, nan=-9.0)) + right - self.window.col_off
                at_row = np.floor(np.nan_to_num(row, nan=-9.0)) + down - self.window.row_off
                inside = (at_col >= 0) & (at_col < self.window.width) & (at_row >= 0) & (at_row < self.window.height)
                pixel = (np.where(inside, a, 0).astype(np.intp) for a in (at_row, at_col))
                deepest = np.maximum(deepest, np.where(inside, self.depth[tuple(pixel)], np.nan))
        # Beside the edge of the DSM one of the four is NaN: the view is open there, and the comparison false.
        return np.asarray(depth > deepest + self.tolerance)
