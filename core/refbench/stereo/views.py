"""Satellite images as views: opened with their RPCs, the best pairs of them, the grid that they cover."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refbench.bridges.pair_choice import footprint, ranked_pairs, sees
from refbench.contracts.errors import InputError, UnsupportedError
from refbench.contracts.grid import Bounds, Grid
from refbench.formats.camera_files import rpc_of_image
from refbench.formats.raster import open_image
from refbench.scenes.build import SceneFiles, ViewFiles, build_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from refbench.bridges.pair_choice import RankedPair
    from refbench.contracts.scene import View
    from refbench.stereo.relative_bias import RelativeBias

    Floats = NDArray[np.float64]

SAMPLES = 12
"""Rays a side of each image whose ground tells what others see."""
LEAST_SCORE = 0.02
"""Pairs that are worth less of a full one (see ``RankedPair.score``) are not matched."""
STEPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0)
"""Pixel sizes of a new grid, metres: the first that is not below the images' footprint."""


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Views in one CRS, pairs by fitness, and the footprint of a pixel, metres."""

    views: tuple[View, ...]
    crs: CRS
    pixel: float
    pairs: tuple[RankedPair, ...] = ()


def open_images(paths: Sequence[Path], crs: str | None = None) -> Images:
    """Return two or more images with RPCs as views; ``crs`` None takes the UTM zone of the first.

    Raises
    ------
    InputError
        Fewer than two images, two of one name, or what ``build_scene`` refuses, such as an image without an RPC.
    """
    if len(paths) < 2:
        raise InputError(f"Stereo needs two images or more, got {len(paths)}.")
    names = [path.stem for path in paths]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"Two images are named {repeated}; give files of different names.")
    files = {name: ViewFiles(path) for name, path in zip(names, paths, strict=True)}
    scene = build_scene(SceneFiles("images", crs=crs, views=files))
    views = tuple(scene.views.values())
    known = views[0].camera.crs
    assert known is not None  # build_scene takes it from the RPC
    return Images(views, known, float(np.mean([_pixel(view) for view in views])))


def _pixel(view: View) -> float:
    """Return the footprint of a pixel in the middle of an image, metres."""
    rows, cols = view.image.shape
    place = view.camera.unproject_to_height(np.array([cols / 2]), np.array([rows / 2]), np.array([_start_height(view)]))
    return float(abs(np.linalg.det(view.camera.jacobian(place)[0, :, :2])) ** -0.5)


def _start_height(view: View) -> float:
    limits = view.camera.height_range
    if limits is None:
        raise InputError(f"View {view.name}: its camera tells no range of heights; stereo here is for RPC images.")
    return sum(limits) / 2


def start_height(images: Images) -> float:
    """Return the middle of the heights that all RPCs were made for, metres."""
    return float(np.median([_start_height(view) for view in images.views]))


def with_pairs(images: Images, height: float, most: int, within: Bounds | None = None) -> Images:
    """Return the images with their best pairs, at most ``most``, for ground at ``height`` (inside ``within``).

    Raises
    ------
    UnsupportedError
        No two images see the same ground under a fit angle.
    """
    if within is None:
        rays = [footprint(view.camera, view.image.shape, height, SAMPLES).reshape(-1, 3) for view in images.views]
        ground = np.concatenate(rays)
    else:
        x, y = np.meshgrid(
            np.linspace(within.west, within.east, SAMPLES), np.linspace(within.south, within.north, SAMPLES)
        )
        ground = np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)
    ranked = [pair for pair in ranked_pairs(images.views, ground) if pair.score >= LEAST_SCORE]
    if not ranked:
        raise UnsupportedError(
            "No two images see the same ground under an angle of a few to 60 degrees; stereo needs such a pair."
        )
    return replace(images, pairs=tuple(ranked[:most]))


def without_bias(images: Images, bias: RelativeBias) -> Images:
    """Return the images whose RPCs are shifted by their bias."""
    views = tuple(_moved(view, bias.shifts[view.name], images.crs) for view in images.views)
    by_name = {view.name: view for view in views}
    pairs = tuple(
        replace(pair, first=by_name[pair.first.name], second=by_name[pair.second.name]) for pair in images.pairs
    )
    return replace(images, views=views, pairs=pairs)


def _moved(view: View, shift: tuple[float, float], crs: CRS) -> View:
    rpc = rpc_of_image(open_image(view.image.files[0], in_camera=True), crs)
    assert rpc is not None  # open_images found it
    moved = rpc.shifted(-shift[0], -shift[1])
    return replace(view, camera=replace(moved, width=rpc.width, height=rpc.height))


def new_grid(images: Images, height: float, gsd: float | None) -> Grid:
    """Return the grid over what the chosen pairs see at ``height`` metres; ``gsd`` None takes one of ``STEPS``."""
    boxes = []
    for pair in images.pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            ground = footprint(one.camera, one.image.shape, height, 4 * SAMPLES).reshape(-1, 3)
            boxes.append(ground[sees(other, ground)])
    ground = np.concatenate(boxes)
    if not len(ground):
        raise UnsupportedError("The chosen pairs share no ground at the height that was found.")
    low, high = ground.min(axis=0), ground.max(axis=0)
    step = gsd or next((step for step in STEPS if step >= images.pixel), math.ceil(images.pixel))
    bounds = Bounds(float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return Grid.snap(bounds, step, images.crs, "ellipsoid")
