"""Output folders of CARS 1.x: the DSM with its auxiliary rasters, point clouds as LAZ or as rasters of x, y and z.

``refbench.scenes.exporters.cars`` writes such a folder. What the rasters hold is said in
``docs/start/own_pipeline.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.files.json_text import parse_json
from refbench.files.yaml_file import mapping, read_mapping
from refbench.formats.cloud_joined import JoinedPoints
from refbench.formats.cloud_raster import AXES, RasterPoints, open_raster_points
from refbench.formats.crs import parse_crs
from refbench.formats.raster import open_image
from refbench.formats.raster_parts import ClassesMask, OneBand, classes_of
from refbench.scenes.build import SceneFiles, build_scene
from refbench.scenes.importers.output_folder import (
    completed,
    left_over,
    matching,
    named_beside,
    one_of,
    rpc_views,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench.contracts.raster import Image, Mask
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.formats.cloud import PointFile

MARKS = ("index.yaml", "index.json")
"""What CARS lists the files of a product in."""
SETTINGS = ("global_used_conf.yaml", "used_conf.yaml", "used_conf.json", "metadata.yaml", "metadata.json")
"""Where a run says which images it was given; the first that is there counts."""
LAYERS = ("ambiguity", "weights", "performance_map")
SIGMA = "dsm_std"
"""The spread of the points in a cell, which CARS keeps with its intermediate data."""
NO_DATA, MEASURED = 0, 1
"""Values of ``filling.tif``; any larger one is a way of filling."""
FILLING_UNKNOWN = 255
MOST_CLASSES = 16
CLOUD_FOLDERS = ("point_cloud", "depth_map")


def _dsm_folder(path: Path) -> Path | None:
    """Return the folder of the DSM: ``dsm`` below the output folder, or the folder itself."""
    below = path / "dsm"
    if (below / "dsm.tif").is_file() and (one_of(below, *MARKS) or one_of(path, *SETTINGS)):
        return below
    return path if (path / "dsm.tif").is_file() and one_of(path, *MARKS) else None


def is_cars_folder(path: Path) -> bool:
    """Return whether a folder is an output folder of CARS, or the ``dsm`` in it, by names alone."""
    if not path.is_dir():
        return False
    return _dsm_folder(path) is not None or any(one_of(path / name, *MARKS) for name in CLOUD_FOLDERS)


def open_cars(path: Path) -> Scene:
    """Open an output folder of CARS.

    ``image.tif`` becomes an ortho, ``ambiguity.tif``, ``performance_map.tif`` and ``weights.tif`` layers,
    ``filling.tif`` the masks ``measured`` and ``filled``, ``classification.tif`` a mask a class, clouds the points,
    and the images of the run's configuration views where they and their RPCs are still in place.

    Raises
    ------
    InputError
        There is no DSM in it, or a file is damaged or lies on another grid.
    """
    folder = _dsm_folder(path)
    if folder is None:
        raise InputError(
            f"{path} holds no dsm/dsm.tif, only other products of CARS; ask CARS for the dsm (product_level), or give "
            "its LAZ files as --points with --gsd."
        )
    dsm = folder / "dsm.tif"
    root = path if folder != path else path.parent
    image = one_of(folder, "image.tif", "color.tif")
    images = {} if image is None else {"image": image}
    views, lost = rpc_views(_sensors(root))
    clouds, unread = _laz_clouds(root)
    name = root.name if folder == path else path.name
    scene = build_scene(SceneFiles(name, path, dsm=dsm, points=clouds, orthos=images, views=views))
    layers = _layers(folder)
    masks, many = _masks(folder)
    used = [dsm, *images.values()]
    used += [source.files[0] for source in layers.values()] + [source.files[0] for source in masks.values()]
    notes = [*lost, *unread, *many, *_missing(folder), *left_over(folder, used)]
    if (root / "monocular").is_dir():
        notes.append(f"{root / 'monocular'} is in the geometry of the sensor images and is not used.")
    parts: dict[str, Any] = {"layers": layers, "masks": masks}
    if not clouds and (rasters := _raster_clouds(root, scene)):
        parts["points"] = JoinedPoints(rasters) if len(rasters) > 1 else rasters[0]
    return completed(scene, notes, **parts)


def _layers(folder: Path) -> dict[str, RasterSource[Image]]:
    """Return the rasters that say how good the heights are; one with a band a method becomes a layer a band."""
    found: dict[str, RasterSource[Image]] = {}
    for stem, name in (*zip(LAYERS, LAYERS, strict=True), (SIGMA, "sigma")):
        if (file := one_of(folder, f"{stem}.tif")) is None:
            continue
        source = open_image(file)
        if source.bands == 1:
            found[name] = source
            continue
        titles = source.read().band_names or tuple(str(band + 1) for band in range(source.bands))
        for band, title in enumerate(titles):
            found[f"{name}_{title or band + 1}"] = OneBand(source, band)
    return found


def _masks(folder: Path) -> tuple[dict[str, RasterSource[Mask]], list[str]]:
    """Return the masks of filling and classification, and what the user should know of them."""
    found: dict[str, RasterSource[Mask]] = {}
    notes: list[str] = []
    if (file := one_of(folder, "filling.tif")) is not None:
        filling = open_image(file)
        ways = tuple(value for value in range(MEASURED + 1, FILLING_UNKNOWN))
        found["filled"] = ClassesMask(filling, ways, "filled", (FILLING_UNKNOWN,))
        found["measured"] = ClassesMask(filling, (MEASURED,), "measured", (FILLING_UNKNOWN,))
    if (file := one_of(folder, "classification.tif")) is not None:
        classes = open_image(file)
        values = [value for value in classes_of(classes) if value not in (0, FILLING_UNKNOWN)]
        if len(values) > MOST_CLASSES:
            notes.append(f"{file} holds {len(values)} classes; the first {MOST_CLASSES} become masks.")
        for value in values[:MOST_CLASSES]:
            found[f"class_{value}"] = ClassesMask(classes, (value,), f"class_{value}", (FILLING_UNKNOWN,))
    return found, notes


def _missing(folder: Path) -> list[str]:
    """Return a sentence on the files that the index lists and the folder lacks."""
    index = one_of(folder, *MARKS)
    listed = {} if index is None else _settings(index)
    gone = [name for name in listed.values() if isinstance(name, str) and not (folder / name).is_file()]
    return [f"{index} lists {', '.join(gone[:6])}, which is not there."] if gone else []


def _settings(path: Path) -> dict[str, Any]:
    """Return the content of a YAML or JSON file of CARS.

    Raises
    ------
    ConfigError
        It is neither; the message names it.
    """
    if path.suffix == ".yaml":
        return read_mapping(path, may_be_empty=True)
    try:
        return mapping(str(path), parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error


def _sensors(root: Path) -> dict[str, tuple[Path, Path | None]]:
    """Return name -> (image, file of its geometric model) of the run's configuration."""
    file = one_of(root, *SETTINGS)
    settings = {} if file is None else _settings(file)
    said = settings.get("input", settings.get("inputs"))
    sensors = said.get("sensors") if isinstance(said, dict) else None
    found = {}
    for name, sensor in sensors.items() if isinstance(sensors, dict) else ():
        image, model = _path_in(sensor, "image"), _path_in(sensor, "geomodel")
        if image is not None:
            found[str(name)] = named_beside(image, root), None if model is None else named_beside(model, root)
    return found


def _path_in(sensor: object, key: str) -> str | None:
    """Return the path under a key of a sensor, which is a text or a mapping that holds it, for images by bands."""
    value = sensor.get(key) if isinstance(sensor, dict) else None
    if isinstance(value, dict) and isinstance(bands := value.get("bands"), dict):
        value = next(iter(bands.values()), None)
    if isinstance(value, dict):
        value = value.get("path")
    return value if isinstance(value, str) else None


def _laz_clouds(root: Path) -> tuple[tuple[Path, ...], list[str]]:
    """Return the LAZ tiles of the point cloud. They name no CRS; a ``.prj`` beside each does, as PROJ text."""
    tiles = matching(root / "point_cloud", "**/*.laz")
    in_degrees = [tile for tile in tiles if "longlat" in _projection(tile)]
    if not in_degrees:
        return tiles, []
    kept = tuple(tile for tile in tiles if tile not in in_degrees)
    return kept, [
        f"{len(in_degrees)} tiles of {root / 'point_cloud'} are in degrees, by centidegrees; they are left out."
    ]


def _projection(tile: Path) -> str:
    file = tile.with_name(f"{tile.name}.prj")
    try:
        return file.read_text(encoding="utf-8", errors="replace")[:4096] if file.is_file() else ""
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error


def _raster_clouds(root: Path, scene: Scene) -> list[PointFile]:
    """Return the clouds of x, y and z rasters, a pair each, brought to the CRS of the scene."""
    if scene.grid is None or scene.grid.crs is None:
        return []
    for kind in CLOUD_FOLDERS:
        index = one_of(root / kind, *MARKS)
        listed: Mapping[str, Any] = {} if index is None else _settings(index)
        readers = []
        for first in matching(root / kind, "*/X.tif"):
            files = [first.with_name(f"{axis.upper()}.tif") for axis in AXES]
            if lacks := [file for file in files if not file.is_file()]:
                raise InputError(f"{first.parent} lacks {lacks[0].name}; a cloud needs X.tif, Y.tif and Z.tif.")
            said = listed.get(first.parent.name)
            code = said.get("epsg") if isinstance(said, dict) else None
            source = parse_crs(f"EPSG:{code or 4326}", str(index or first))
            readers.append(RasterPoints(files, source, scene.grid.crs))
        if readers:
            return [open_raster_points(reader, scene.grid.crs, scene.vertical) for reader in readers]
    return []
