"""DSM + camera -> depth map: a z-buffer over the triangles between pixel centres. Letters: T triangles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.raster import DSM

BAND_ROWS = 64
MAX_CANDIDATES = 1 << 20
EDGE = 1e-9
"""Barycentric slack: a pixel centre on the edge of two triangles must not fall between them."""


def render_depth(dsm: DSM, camera: Camera, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the depth map of a DSM in a camera.

    The surface is made of two triangles between every four neighbouring pixel centres with known heights, so its
    hull is that of the centres, half a pixel inside the grid. Steps between neighbours are steep triangles (walls).
    Depth is exact on each triangle: linear along it for parallel rays, its inverse for a perspective camera.

    Parameters
    ----------
    dsm
        Heights on a grid in the camera's scene coordinates.
    camera
        Any camera; ``is_perspective`` says how its depth is interpolated. Triangles with a vertex behind a perspective
        one are left out.
    shape
        (rows, cols) of the depth map in pixels.

    Returns
    -------
    float64 [rows, cols], the camera's depth (z in scene units; minus the height for an RPC); NaN where nothing is
    seen.

    Raises
    ------
    InputError
        A shape without pixels.
    """
    rows, cols = shape
    if rows < 1 or cols < 1:
        raise InputError(f"A depth map needs at least one pixel, got a shape of {shape}.")
    return render_window(dsm, camera, Window(0, 0, cols, rows))


def render_window(dsm: DSM, camera: Camera, window: Window) -> NDArray[np.float64]:
    """Return the part of the depth map that lies in ``window``, float64 [rows, cols]; see ``render_depth``."""
    perspective = camera.is_perspective
    buffer = np.full(window.height * window.width, np.inf)
    for xyz in _bands(dsm):
        col, row, depth = camera.project(xyz)
        # What is linear over the image of a triangle; smaller is nearer in both cases.
        key = -1 / np.where(depth > 0, depth, np.nan) if perspective else depth
        vertices = np.stack([col - window.col_off, row - window.row_off, key], axis=-1)
        _draw(_triangles(vertices), window, buffer)
    buffer[np.isinf(buffer)] = np.nan
    return (-1 / buffer if perspective else buffer).reshape(window.height, window.width)


def _bands(dsm: DSM) -> Iterator[NDArray[np.float64]]:
    """Yield the surface points [rows, cols, 3] in bands that share their border row."""
    grid = dsm.grid
    for first in range(0, max(1, grid.height - 1), BAND_ROWS):
        number = min(BAND_ROWS + 1, grid.height - first)
        x, y = grid.window(Window(0, first, grid.width, number)).centres()
        yield np.stack([x, y, dsm.heights[first : first + number].astype(np.float64)], axis=-1)


def _triangles(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the triangles [T, 3, 3] (corner; col, row, key) of a band [rows, cols, 3], without unknown corners."""
    a, b = vertices[:-1, :-1], vertices[:-1, 1:]
    c, d = vertices[1:, :-1], vertices[1:, 1:]
    both = np.stack([np.stack([a, c, b], axis=-2), np.stack([b, c, d], axis=-2)]).reshape(-1, 3, 3)
    return np.asarray(both[np.isfinite(both).all(axis=(1, 2))])


def _draw(triangles: NDArray[np.float64], window: Window, buffer: NDArray[np.float64]) -> None:
    """Lower ``buffer`` [rows * cols] to the keys of the triangles [T, 3, 3] at the pixel centres that they cover."""
    low, high = triangles[:, :, :2].min(axis=1), triangles[:, :, :2].max(axis=1)
    size = np.array([window.width, window.height])
    first = np.clip(np.ceil(low - EDGE), 0, size).astype(np.int64)
    span = np.clip(np.floor(high + EDGE), -1, size - 1).astype(np.int64) - first + 1
    number = np.where((span > 0).all(axis=1), span[:, 0] * span[:, 1], 0)
    seen = np.flatnonzero(number)
    # Chunks of triangles whose boxes hold about MAX_CANDIDATES pixels together bound the memory.
    part = np.cumsum(number[seen]) // MAX_CANDIDATES
    for chunk in np.split(seen, np.flatnonzero(np.diff(part)) + 1):
        if chunk.size:
            _draw_chunk(triangles[chunk], first[chunk], span[chunk, 0], number[chunk], window.width, buffer)


def _draw_chunk(
    triangles: NDArray[np.float64],
    first: NDArray[np.int64],
    width: NDArray[np.int64],
    number: NDArray[np.int64],
    cols: int,
    buffer: NDArray[np.float64],
) -> None:
    """Test every pixel of the boxes (first pixel [T, 2], ``width`` [T], ``number`` of pixels [T])."""
    (x0, y0, k0), (x1, y1, k1), (x2, y2, k2) = np.moveaxis(triangles, 0, -1)
    twice_area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(twice_area != 0, 1 / twice_area, np.nan)
    owner = np.repeat(np.arange(len(number)), number)
    place = np.arange(owner.size) - np.repeat(np.cumsum(number) - number, number)
    col = first[owner, 0] + place % width[owner]
    row = first[owner, 1] + place // width[owner]
    dx, dy = col - x0[owner], row - y0[owner]
    second = (dx * (y2 - y0)[owner] - dy * (x2 - x0)[owner]) * inverse[owner]
    third = (dy * (x1 - x0)[owner] - dx * (y1 - y0)[owner]) * inverse[owner]
    inside = (second >= -EDGE) & (third >= -EDGE) & (second + third <= 1 + EDGE)
    key = k0[owner] + second * (k1 - k0)[owner] + third * (k2 - k0)[owner]
    np.minimum.at(buffer, (row * cols + col)[inside], key[inside])
