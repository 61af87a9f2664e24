"""A scene as a folder: every source as a file of a plain kind, and ``scene.yaml`` last."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.files.names import as_file_name
from refbench.files.yaml_text import yaml_document
from refbench.formats.camera_files import image_tags, write_camera
from refbench.formats.cloud_write import write_points
from refbench.formats.output_nodata import output_nodata
from refbench.formats.raster_write import write_band, write_dsm, write_image, write_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.raster import DSM, Image, Mask
    from refbench.contracts.scene import Reference, Scene, View
    from refbench.contracts.source import RasterSource


def write_scene(folder: str | Path, scene: Scene, *, points_suffix: str = ".laz") -> Path:
    """Write every source of a scene into ``folder`` and return the path of its ``scene.yaml``.

    Rasters become COGs, points LAZ (or ``points_suffix``), RPCs tags of their images, other cameras YAML. Each source
    is read whole in its turn. ``scene.yaml`` comes last: a folder without it is no scene.

    Raises
    ------
    InputError
        A file that cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    writer = _Writer(folder)
    content: dict[str, Any] = {"refbench_scene": 1, "id": scene.id}
    if scene.grid is not None and scene.grid.crs is not None:
        content["crs"] = scene.grid.crs.to_string()
    content["vertical"] = scene.vertical
    content["height_unit"] = "metre"
    if scene.dsm is not None:
        content["dsm"] = writer.dsm("dsm.tif", scene.dsm)
    if scene.points is not None:
        content["points"] = f"points{points_suffix}"
        write_points(folder / content["points"], scene.points.read())
        if scene.dsm is None and scene.grid is not None:
            content["gsd"] = scene.grid.gsd
    if scene.orthos:
        content["orthos"] = {name: writer.image(f"ortho_{name}.tif", image) for name, image in scene.orthos.items()}
    if scene.pairs:
        content["pairs"] = [list(pair) for pair in scene.pairs]
    if scene.ndvi is not None:
        content["ndvi"] = writer.image("ndvi.tif", scene.ndvi)
    if scene.views:
        content["views"] = {name: writer.view(name, view) for name, view in scene.views.items()}
    if scene.masks:
        content["masks"] = writer.masks(scene.masks)
    if scene.layers:
        content["layers"] = {
            name: writer.layer(f"layer_{as_file_name(name)}.tif", layer) for name, layer in scene.layers.items()
        }
    if scene.reference is not None:
        content["reference"] = writer.reference(scene.reference)
    text = yaml_document(content)
    with atomic_file(folder / "scene.yaml") as file:
        file.write(text.encode())
    return folder / "scene.yaml"


class _Writer:
    """Writes sources below one folder; every method returns the path relative to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: set[str] = set()

    def _target(self, name: str) -> Path:
        if name in self._written:
            raise InputError(f"Two sources of the scene would be written as {self.folder / name}; rename one of them.")
        self._written.add(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def dsm(self, name: str, source: RasterSource[DSM]) -> str:
        write_dsm(self._target(name), source.read(), nodata=output_nodata(None, source))
        return name

    def image(self, name: str, source: RasterSource[Image], rpcs: Mapping[str, str] | None = None) -> str:
        write_image(self._target(name), source.read(), rpcs=rpcs)
        return name

    def layer(self, name: str, source: RasterSource[Image]) -> str:
        image = source.read()
        # Floats have NaN for what is not known; an image's integers would lose their zeros to the NoData code.
        values = image.pixels[0].astype(np.float32)
        known = values if image.valid is None else np.where(image.valid, values, np.float32(np.nan))
        write_band(self._target(name), known, image.grid, Path(name).stem, nodata=math.nan)
        return name

    def mask(self, name: str, source: RasterSource[Mask]) -> str:
        write_mask(self._target(name), source.read())
        return name

    def masks(self, masks: Mapping[str, RasterSource[Mask]]) -> dict[str, str]:
        return {name: self.mask(f"mask_{name}.tif", source) for name, source in masks.items()}

    def view(self, name: str, view: View) -> dict[str, Any]:
        rpcs, stem = image_tags(view.camera), f"views/{as_file_name(name)}"
        entry: dict[str, Any] = {"image": self.image(f"{stem}.tif", view.image, rpcs)}
        if rpcs is None:
            entry["camera"] = f"{stem}.yaml"
            write_camera(self._target(entry["camera"]), view.camera)
        if view.depth is not None:
            entry["depth"] = self.image(f"{stem}_depth.tif", view.depth)
        if view.mask is not None:
            entry["mask"] = self.mask(f"{stem}_mask.tif", view.mask)
        if view.depth_range is not None:
            entry["depth_range"] = list(view.depth_range)
        if view.acquired is not None:
            entry["acquired"] = view.acquired.isoformat()
        return entry

    def reference(self, reference: Reference) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if reference.dsm is not None:
            entry["dsm"] = self.dsm("reference.tif", reference.dsm)
        if reference.mask is not None:
            entry["mask"] = self.mask("reference_mask.tif", reference.mask)
        if reference.depths:
            entry["depths"] = {
                name: self.image(f"views/{as_file_name(name)}_reference_depth.tif", depth)
                for name, depth in reference.depths.items()
            }
        return entry
