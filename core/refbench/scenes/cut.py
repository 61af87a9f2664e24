"""A square piece of a scene as a scene of its own: for quick checks on real content."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds, Window
from refbench.contracts.scene import Reference
from refbench.files.new_folder import check_new, new_folder
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.scenes.scene_yaml import write_scene

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene

SMALLEST_PX = 16


def central_window(scene: Scene, size_m: float) -> Window:
    """Return the square window of ``size_m`` metres in the middle of a scene's grid, in whole pixels.

    Raises
    ------
    UnsupportedError
        The scene has no grid.
    InputError
        The square is larger than the grid, or smaller than 16 px.
    """
    grid = scene.require_grid()
    size = round(size_m / grid.gsd)
    if size < SMALLEST_PX or size > min(grid.shape):
        raise InputError(
            f"A square of {size_m:g} m cannot be cut from scene {scene.id}: it would have {size} px, "
            f"{SMALLEST_PX} to {min(grid.shape)} are possible."
        )
    return Window((grid.width - size) // 2, (grid.height - size) // 2, size, size)


def cut_scene(scene: Scene, window: Window, name: str) -> Scene:
    """Return what a scene holds inside ``window`` of its grid, in memory.

    Rasters of another resolution are cut to the whole pixels around the window. Views stay whole: their cameras tell
    where they look.
    """
    inside = scene.require_grid().window(window)
    reference = scene.reference

    def cut(source: Any) -> Any:  # noqa: ANN401  # a source of any raster
        return None if source is None else ArraySource(source.read(_window_over(source, inside.bounds)))

    return replace(
        scene,
        id=name,
        grid=inside,
        dsm=cut(scene.dsm),
        points=None if scene.points is None else HeldPoints(scene.points.read(inside.bounds)),
        orthos={key: cut(ortho) for key, ortho in scene.orthos.items()},
        ndvi=cut(scene.ndvi),
        masks={key: cut(mask) for key, mask in scene.masks.items()},
        layers={key: cut(layer) for key, layer in scene.layers.items()},
        reference=None
        if reference is None
        else Reference(cut(reference.dsm), cut(reference.mask), dict(reference.depths)),
        origin=(*inside.origin, scene.origin[2]),
        folder=None,
        areas=(),
    )


def _window_over(source: Any, bounds: Bounds) -> Window:  # noqa: ANN401  # a source of any raster
    """Return the whole pixels of a source that touch ``bounds``; a thousandth of a pixel does not count."""
    x = np.array([bounds.west, bounds.east, bounds.west, bounds.east])
    y = np.array([bounds.north, bounds.north, bounds.south, bounds.south])
    col, row = source.grid.pixel_of(x, y)
    left, top = math.floor(col.min() + 1e-3), math.floor(row.min() + 1e-3)
    return Window(left, top, math.ceil(col.max() - 1e-3) - left, math.ceil(row.max() - 1e-3) - top)


def write_cut(scene: Scene, size_m: float, folder: Path, name: str) -> Path:
    """Write the central square of a scene as a scene folder, whole or not at all, and return its ``scene.yaml``.

    Raises
    ------
    InputError
        See ``central_window``; or the folder is there, or cannot be written.
    """
    check_new(folder)
    piece = cut_scene(scene, central_window(scene, size_m), name)
    with new_folder(folder) as partial:
        write_scene(partial, piece)
    return folder / "scene.yaml"
