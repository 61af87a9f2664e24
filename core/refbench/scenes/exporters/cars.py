"""A scene as an output folder of CARS 1.x, and a configuration for the step that takes it: merging and filling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.points import PointCloud
from refbench.files.yaml_text import yaml_document
from refbench.formats.cloud_write import write_points
from refbench.formats.raster import ImageFile
from refbench.formats.raster_write import write_band
from refbench.scenes.exporters.tree import (
    classes,
    first_ortho,
    not_written,
    surface_of,
    write_heights,
    write_layer,
    write_ortho,
    write_text,
)
from refbench.scenes.importers.cars import FILLING_UNKNOWN, LAYERS, MEASURED, SIGMA

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.raster import Image
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource

NODATA, AUXILIARY_NODATA = -32768.0, 255.0
FILLED = 7
"""CARS calls this way of filling ``other``."""
PERFORMANCE, CLASSES_TAG = "performance_map", "CLASSES"
CLASS = re.compile(r"class_(\d{1,3})")


def write_cars(scene: Scene, folder: Path) -> list[str]:
    """Write ``dsm/``, ``point_cloud/`` and ``config.yaml`` below ``folder``; return what has no place there.

    ``weights.tif``, which CARS asks for, is 1 wherever there is a height if the scene has no such layer.
    """
    dsm = surface_of(scene, "CARS")
    grid, below = dsm.grid, folder / "dsm"
    write_heights(below / "dsm.tif", dsm, NODATA)
    index = {"dsm": "dsm.tif"}
    ortho, notes = first_ortho(scene)
    if ortho is not None:
        write_ortho(below / "image.tif", ortho)
        index["image"] = "image.tif"
    layers = {name: name for name in LAYERS if name in scene.layers}
    layers |= {"sigma": SIGMA} if "sigma" in scene.layers else {}
    for name, stem in layers.items():
        zero = name == "weights"
        layer = scene.layers[name]
        # CARS merges a performance map by what the tag says of its classes.
        tags = {CLASSES_TAG: _tag(layer)} if name == PERFORMANCE else None
        write_layer(below / f"{stem}.tif", layer, grid, 0.0 if zero else AUXILIARY_NODATA, tags)
        index[stem] = f"{stem}.tif"
    if "weights" not in layers:
        write_band(below / "weights.tif", dsm.valid.astype(np.float32), grid, "", nodata=0.0)
        index["weights"] = "weights.tif"
    masks = _write_classes(scene, below, index)
    write_text(below / "index.yaml", yaml_document(index))
    if scene.points is not None:
        _write_cloud(scene, folder / "point_cloud")
    inputs = {key: f"dsm/{name}" for key, name in index.items()}
    content = {"input": {"dsms": {"refbench": inputs}}, "output": {"directory": "merged"}}
    write_text(folder / "config.yaml", "# Run here: cars config.yaml\n" + yaml_document(content))
    return notes + not_written(scene, masks=masks, layers=layers)


def _tag(layer: RasterSource[Image]) -> str:
    """Return what the file of a performance map says of its classes: class -> interval of the error (m), as text."""
    return layer.tags.get(CLASSES_TAG, "{}") if isinstance(layer, ImageFile) else "{}"


def _write_classes(scene: Scene, below: Path, index: dict[str, str]) -> list[str]:
    """Write filling and classification where the scene has such masks; return the masks that were written."""
    written = [name for name in ("measured", "filled") if name in scene.masks]
    if written:
        filling = classes(scene, {"measured": MEASURED, "filled": FILLED}, scene.require_grid().shape)
        write_band(below / "filling.tif", filling, scene.require_grid(), "", nodata=FILLING_UNKNOWN)
        index["filling"] = "filling.tif"
    numbers = {name: int(match[1]) for name in scene.masks if (match := CLASS.fullmatch(name))}
    numbers = {name: number for name, number in numbers.items() if 0 < number < FILLING_UNKNOWN}
    if numbers:
        found = classes(scene, numbers, scene.require_grid().shape)
        for name in numbers:
            values = scene.masks[name].read()
            found[~(values.is_class | values.is_other)] = FILLING_UNKNOWN
        write_band(below / "classification.tif", found, scene.require_grid(), "", nodata=FILLING_UNKNOWN)
        index["classification"] = "classification.tif"
    return [*written, *numbers]


def _write_cloud(scene: Scene, folder: Path) -> None:
    """Write the points as one LAZ tile of one pair; CARS puts the CRS beside it, as PROJ text."""
    assert scene.points is not None
    cloud, crs = scene.points.read(), scene.require_grid().crs
    tile = folder / "refbench" / "0_0.laz"
    tile.parent.mkdir(parents=True)
    write_points(tile, PointCloud(cloud.xyz, None, colour=cloud.colour))
    if crs is not None:
        write_text(tile.with_name(f"{tile.name}.prj"), crs.to_proj4())
    write_text(folder / "index.yaml", yaml_document({"refbench": {"0_0": "refbench/0_0.laz"}}))
