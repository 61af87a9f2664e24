"""A scene as official tile files: 8-bit RGB, DSM and NDVI side by side, for the official code to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from refbench import Window
from refbench.contracts.errors import InputError
from refbench.geometry.image_scale import one_band
from refbench_pix2pix.config import TILE, ValueConfig
from refbench_pix2pix.official.names import tile_name
from refbench_pix2pix.official.tiles import as_rgb
from refbench_pix2pix.values import DSM_MIDDLE, LEVELS, HeightScale, ndvi_levels, to_network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Scene

FOLDERS = {"inference": "inputs", "training": "training"}


def export_scene(scene: Scene, folder: Path) -> dict[str, Any]:
    """Write ``inputs/256-<x0>-<y0>.tif`` [DSM | NDVI] and, with a reference, ``training/...`` [target | DSM | NDVI].

    Incomplete tiles at the right and lower edge are left out, as the official code drops them.

    Raises
    ------
    InputError
        The scene has no DSM or NDVI, is smaller than a tile, or heights do not fit 0 to 255 m.
    """
    grid = scene.require_grid()
    if scene.dsm is None or scene.ndvi is None:
        raise InputError(f"Scene {scene.id} needs a DSM and an NDVI to be exported.")
    if min(grid.shape) < TILE:
        raise InputError(f"Scene {scene.id} is smaller than a tile of {TILE} px.")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; give a new folder.")
    reference = scene.reference.dsm if scene.reference is not None else None
    for name in FOLDERS.values() if reference is not None else [FOLDERS["inference"]]:
        (folder / name).mkdir(parents=True)
    written = 0
    for row in range(0, grid.height - TILE + 1, TILE):
        for col in range(0, grid.width - TILE + 1, TILE):
            window = Window(col, row, TILE, TILE)
            dsm = height_levels(scene.dsm.read(window).heights)
            ndvi = np.rint(ndvi_levels(one_band(scene.ndvi.read(window), "first"))).astype(np.uint8)
            halves = [dsm, np.where(dsm == 0, 0, ndvi).astype(np.uint8)]
            _write(folder / FOLDERS["inference"] / tile_name(TILE, col, row), halves)
            if reference is not None:
                target = height_levels(reference.read(window).heights)
                _write(folder / FOLDERS["training"] / tile_name(TILE, col, row), [target, *halves])
            written += 1
    return {"tiles": written, "folder": str(folder)}


def height_levels(heights: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return heights in metres as whole levels, unknown ones 0; raises ``InputError`` past 0 to 255 m.

    Uint8 [rows, cols].
    """
    values = to_network(heights, HeightScale(0.0, 1.0), ValueConfig(path="8bit"))
    return np.asarray(np.rint((values * DSM_MIDDLE + DSM_MIDDLE) * LEVELS), np.uint8)


def _write(path: Path, parts: list[NDArray[np.uint8]]) -> None:
    Image.fromarray(as_rgb(np.concatenate(parts, axis=1))).save(path, compression="tiff_lzw")
