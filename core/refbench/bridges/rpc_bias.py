"""Relative RPC bias compensation on a DSM: two images, rectified over it, must show the same at the same cell.

An RPC points some pixels beside the place, by nearly the same all over an image. Over the right surface both orthos
would agree; the shift between them, carried into the second image by its camera, is the bias. The first image stays:
where both lie as a whole, the images alone cannot tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window
from refbench.contracts.raster import DSM, Image
from refbench.geometry.biased_camera import BiasedCamera
from refbench.geometry.image_shift import best_shift
from refbench.geometry.ortho import orthorectify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera

ROUNDS = 3
REACH_CELLS, NEAR_CELLS = 16, 3
"""How far shifts are searched, in the first round and in those after it."""
MOST_CELLS = 512
"""Side of the middle part of a large DSM that tells the bias."""
LEAST_CELLS = 1000
ENOUGH = 0.02
"""A step below so many pixels ends the rounds."""


def compensated(
    first: tuple[Image, Camera], second: tuple[Image, Camera], dsm: DSM, known: NDArray[np.bool_]
) -> tuple[Camera, tuple[float, float]] | None:
    """Return the second camera without its bias against the first, and that bias (right, down; pixels).

    Parameters
    ----------
    first, second
        Images in camera pixels and their cameras, without perspective.
    dsm
        The surface, without holes.
    known
        bool [rows, cols]: cells whose height was measured.

    Returns
    -------
    None where the images do not correlate over the surface.
    """
    part = _middle(dsm)
    mask = known[part.slices]
    surface = DSM(np.ascontiguousarray(dsm.heights[part.slices]), dsm.grid.window(part))
    fixed = orthorectify(as_grey(first[0]), first[1], surface, occlusion=True)
    grey, camera = as_grey(second[0]), second[1]
    moving, bias = camera, np.zeros(2)
    for turn in range(ROUNDS):
        ortho = orthorectify(grey, moving, surface, occlusion=True)
        step = _bias_step(fixed, ortho, mask, moving, surface, NEAR_CELLS if turn else REACH_CELLS)
        if step is None:
            return None if turn == 0 else (moving, (float(bias[0]), float(bias[1])))
        bias = bias + step
        moving = BiasedCamera(camera, (float(bias[0]), float(bias[1])))
        if np.abs(step).max() < ENOUGH:
            break
    return moving, (float(bias[0]), float(bias[1]))


def _middle(dsm: DSM) -> Window:
    height, width = min(MOST_CELLS, dsm.grid.height), min(MOST_CELLS, dsm.grid.width)
    return Window((dsm.grid.width - width) // 2, (dsm.grid.height - height) // 2, width, height)


def as_grey(image: Image) -> Image:
    """Return the mean of an image's bands, float32 [1, rows, cols]."""
    return Image(image.pixels.astype(np.float32).mean(axis=0, keepdims=True), image.grid, (), image.valid)


def _bias_step(
    fixed: Image, ortho: Image, mask: NDArray[np.bool_], camera: Camera, surface: DSM, reach: int
) -> NDArray[np.float64] | None:
    """Return by how many pixels [2] of the second image its ortho lies beside the first; None: unknown."""
    seen, wanted = (np.asarray(image.pixels[0], np.float32) for image in (fixed, ortho))
    both = mask & np.isfinite(seen) & np.isfinite(wanted)
    if both.sum() < LEAST_CELLS:
        return None
    found = best_shift(np.nan_to_num(seen), np.nan_to_num(wanted), both, reach)
    if found is None:
        return None
    # From cells to metres on the ground, from there to pixels by the camera's slopes in x and y.
    x, y = surface.grid.centres()
    middle = np.array([[x.mean(), y.mean(), float(np.median(surface.heights))]])
    a = surface.grid.transform
    ground = np.array([a.a * found[0] + a.b * found[1], a.d * found[0] + a.e * found[1]])
    return np.asarray(camera.jacobian(middle)[0, :, :2] @ ground)
