"""Folders of official tiles as scenes, and refined DSMs as official tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from PIL import Image as PilImage
from rasterio.crs import CRS

from refbench import DSM, Grid, Image, Mask, Scene
from refbench.contracts.errors import InputError
from refbench.contracts.raster import MASK_UNKNOWN
from refbench.formats.raster import ArraySource, open_dsm
from refbench_pix2pix.config import TILE
from refbench_pix2pix.footprints.mask_metrics import MIDDLE
from refbench_pix2pix.footprints.mask_tiles import REFERENCE_FOLDER, mosaic_of
from refbench_pix2pix.official.names import parse_tile_name, tile_name
from refbench_pix2pix.official.tiles import as_rgb, halves, read_tile_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

LOCAL = 'LOCAL_CS["tile pixels",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
PIXEL_M = 1.0
"""The tiles say no pixel size; one metre is assumed, as their heights count in metres."""
NOTE = "Official tiles carry no georeference: pixels are taken as {pixel:g} m, level 0 as NoData, a level as one metre."
OUTPUT_FOLDER = "pix2pix_outputs"
HALF_LEVEL = 127.5
BUILDING = "building"


def open_tile_folder(path: Path) -> Scene:
    """Return the tiles of a folder as one scene: DSM and NDVI on the mosaic from its upper-left tile.

    Reference masks of the official data beside the folder, in ``building_footprints``, are its mask ``building``.

    Raises
    ------
    InputError
        A tile is damaged, of another size than its name says, or not a multiple of 256.
    """
    tiles = {place: file for file in sorted(path.iterdir()) if (place := parse_tile_name(file.name)) is not None}
    sizes = {size for size, _, _ in tiles}
    if len(sizes) != 1 or next(iter(sizes)) % TILE:
        raise InputError(f"The tiles in {path} must be of one size, a multiple of {TILE}; got {sorted(sizes)}.")
    size = next(iter(sizes))
    left, top = min(x for _, x, _ in tiles), min(y for _, _, y in tiles)
    rows, cols = (max(place[i] for place in tiles) + size - first for i, first in ((2, top), (1, left)))
    dsm, ndvi = np.zeros((rows, cols), np.uint8), np.zeros((rows, cols), np.uint8)
    for (_, x, y), file in tiles.items():
        pixels = read_tile_file(file)
        if pixels.shape[:2] != (size, 2 * size):
            raise InputError(
                f"{file} is {pixels.shape[1]} x {pixels.shape[0]} px; a tile of {size} with DSM and NDVI is "
                f"{2 * size} x {size}."
            )
        part = np.s_[y - top : y - top + size, x - left : x - left + size]
        dsm[part], ndvi[part] = halves(pixels)
    grid = Grid(cols, rows, Affine(PIXEL_M, 0.0, float(left), 0.0, -PIXEL_M, float(-top)), CRS.from_wkt(LOCAL))
    heights = np.where(dsm == 0, np.float32(np.nan), dsm.astype(np.float32))
    fractions = (ndvi.astype(np.float32) / np.float32(HALF_LEVEL) - 1)[None]
    return Scene(
        path.name,
        grid,
        dsm=ArraySource(DSM(heights, grid)),
        ndvi=ArraySource(Image(np.clip(fractions, -1, 1), grid, ("ndvi",))),
        masks=_footprints(path.absolute().parent / REFERENCE_FOLDER, grid),
        folder=path,
        warnings=(NOTE.format(pixel=PIXEL_M),),
    )


def _footprints(folder: Path, grid: Grid) -> dict[str, ArraySource[Mask]]:
    """Return the mask ``building`` of a folder of official masks; none where there is no such folder."""
    if not folder.is_dir():
        return {}
    levels, known = mosaic_of(folder, grid)
    classes = np.where(known, (levels > MIDDLE).astype(np.uint8), np.uint8(MASK_UNKNOWN))
    return {BUILDING: ArraySource(Mask(classes, grid, BUILDING))}


def write_output_tiles(results: Sequence[Any], folder: Path) -> Path:
    """Write ``pix2pix_outputs/256-<x0>-<y0>.tif`` of the refined DSM beside each result; return the folder."""
    del results  # one folder, one DSM
    out = Path(folder) / OUTPUT_FOLDER
    out.mkdir(exist_ok=True)
    dsm = open_dsm(Path(folder) / "dsm.tif").read()
    left, top = round(dsm.grid.transform.c), round(-dsm.grid.transform.f)
    is_tiled = dsm.grid.crs is not None and dsm.grid.crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS"))
    for row in range(0, dsm.grid.height - TILE + 1, TILE):
        for col in range(0, dsm.grid.width - TILE + 1, TILE):
            levels = _levels(dsm.heights[row : row + TILE, col : col + TILE])
            x, y = (col + left, row + top) if is_tiled else (col, row)
            PilImage.fromarray(as_rgb(levels)).save(out / tile_name(TILE, x, y))
    return out


def _levels(heights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return whole levels, truncated and held to 0..255; unknown heights are 0."""
    return np.asarray(np.clip(np.floor(np.nan_to_num(heights, nan=0.0)), 0, 255), np.uint8)
