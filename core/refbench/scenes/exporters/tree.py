"""What writers of other pipelines' folders share: heights, layers, orthos and masks as rasters of a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.formats.raster_write import DSMWriter, write_band, write_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM, Image
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource


def surface_of(scene: Scene, layout: str) -> DSM:
    """Return the heights of a scene that is to be written.

    Raises
    ------
    InputError
        It has no DSM, or none with a CRS.
    """
    if scene.dsm is None:
        raise InputError(f"Scene {scene.id} has no DSM, so nothing of it can be written for {layout}.")
    dsm = scene.dsm.read()
    if dsm.grid.crs is None:
        raise InputError(f"The DSM of scene {scene.id} has no CRS; {layout} needs one.")
    return dsm


def write_heights(path: Path, dsm: DSM, nodata: float, tags: Mapping[str, str] | None = None) -> None:
    """Write heights in metres with a pipeline's own NoData code; the folder is made.

    The band has no description: CARS 1.3 takes a DSM whose band has one for a stack of them, and fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with DSMWriter(path, dsm.grid, nodata=nodata, tags=tags, description="") as writer:
        writer.write(dsm.grid.full_window, dsm.heights)


def write_layer(
    path: Path, source: RasterSource[Image], grid: Grid, nodata: float, tags: Mapping[str, str] | None = None
) -> None:
    """Write a layer in one band: bytes stay bytes, all else becomes float32, what is not known ``nodata``."""
    image = source.read()
    values = image.pixels[0]
    if values.dtype != np.uint8 or not float(nodata).is_integer() or not 0 <= nodata <= 255:
        values = values.astype(np.float32)
    known = np.isfinite(values) if image.valid is None else image.valid & np.isfinite(values)
    write_band(path, np.where(known, values, values.dtype.type(nodata)), grid, "", nodata=nodata, tags=tags)


def write_ortho(path: Path, source: RasterSource[Image]) -> None:
    """Write an ortho with its bands; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, source.read())


def first_ortho(scene: Scene) -> tuple[RasterSource[Image] | None, list[str]]:
    """Return the ortho that stands for the image of a DSM, and a sentence on those that have no place."""
    if not scene.orthos:
        return None, []
    name, *others = scene.orthos
    return scene.orthos[name], [f"orthos left out: {', '.join(others)}"] if others else []


def classes(scene: Scene, values: Mapping[str, int], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return classes, uint8 [rows, cols]: the value of each mask of ``values``, the last that holds; else 0."""
    found = np.zeros(shape, np.uint8)
    for name, value in values.items():
        if name in scene.masks:
            found[scene.masks[name].read().is_class] = value
    return found


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(text.encode())


def not_written(scene: Scene, **written: Iterable[str]) -> list[str]:
    """Return what a layout has no place for: the masks, layers, views and reference of the scene that are not named."""
    parts: dict[str, Any] = {"masks": scene.masks, "layers": scene.layers, "views": scene.views}
    notes = []
    for kind, of in parts.items():
        if names := [name for name in of if name not in set(written.get(kind, ()))]:
            notes.append(f"{kind} left out: {', '.join(names)}")
    if scene.reference is not None:
        notes.append("the reference is left out")
    return notes
