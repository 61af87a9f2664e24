"""Which part of an image shows a piece of ground, and that part cut out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window
from refbench.contracts.raster import Image
from refbench.contracts.tiles import TileView

if TYPE_CHECKING:
    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import View

MARGIN_CELLS = 16
"""The ground is taken so many cells larger, sideways and in height: a surface moves while it is refined."""
MARGIN_PX = 16
"""What is cut reaches so many pixels farther: filters look around a pixel."""
SAMPLES = 9
"""Places per side of the ground that are projected: images of straight lines are nearly straight."""


def part_that_shows(camera: Camera, shape: tuple[int, int], grid: Grid, heights: tuple[float, float]) -> Window | None:
    """Return the window of an image that shows the ground of ``grid`` at any of the heights; None where none does.

    Parameters
    ----------
    camera
        Of the whole image; its scene coordinates are those of the grid.
    shape
        (rows, cols) of the whole image.
    heights
        Lowest and highest of the surface, metres.

    Returns
    -------
    A window inside of the image. Where the camera cannot place all of the ground (parts of it lie behind a pinhole),
    it is the whole image.
    """
    full = Window(0, 0, shape[1], shape[0])
    x, y = grid.resolution
    bounds, room = grid.bounds, MARGIN_CELLS * max(x, y)
    east = np.linspace(bounds.west - MARGIN_CELLS * x, bounds.east + MARGIN_CELLS * x, SAMPLES)
    north = np.linspace(bounds.south - MARGIN_CELLS * y, bounds.north + MARGIN_CELLS * y, SAMPLES)
    up = np.array([heights[0] - room, heights[1] + room])
    box = np.stack(np.meshgrid(east, north, up, indexing="ij"), axis=-1).reshape(-1, 3)
    col, row, depth = camera.project(box)
    with np.errstate(invalid="ignore"):
        placed = np.isfinite(col) & np.isfinite(row) & ((depth > 0) | (not camera.is_perspective))
    if not placed.any():
        return None
    if not placed.all():
        return full
    left, top = math.floor(col.min()) - MARGIN_PX, math.floor(row.min()) - MARGIN_PX
    right, bottom = math.ceil(col.max()) + MARGIN_PX + 1, math.ceil(row.max()) + MARGIN_PX + 1
    return Window(left, top, right - left, bottom - top).intersection(full)


def tile_view(view: View, window: Window | None = None) -> TileView:
    """Return the part of a view's image in ``window``, read from its file; the whole image where it is None."""
    rows, cols = view.image.shape
    part = window or Window(0, 0, cols, rows)
    image = view.image.read(part)
    valid = np.ones(image.shape, np.bool_) if image.valid is None else image.valid
    if view.mask is not None:
        valid = valid & ~view.mask.read(part).is_other
    return TileView(view.name, view.camera, Image(image.pixels, None, image.band_names, valid), part)
