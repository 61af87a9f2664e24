"""Output of the Ames Stereo Pipeline: what ``point2dem`` and ``parallel_stereo`` write under one prefix.

``refbench.scenes.exporters.asp`` writes such a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasterio.crs import CRS

from refbench.contracts.errors import InputError
from refbench.formats.cloud_raster import RasterPoints, open_raster_points
from refbench.formats.raster import open_image
from refbench.formats.raster_file import RasterFile
from refbench.formats.raster_parts import OneBand
from refbench.scenes.build import SceneFiles, build_scene
from refbench.scenes.importers.output_folder import (
    completed,
    ellipsoidal,
    left_over,
    matching,
    one_of,
    only,
)

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.raster import Image
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.formats.cloud import PointFile

DEM, CLOUD = "-DEM.tif", "-PC.tif"
LAYERS = {
    "VerticalStdDev": "sigma",
    "HorizontalStdDev": "horizontal_sigma",
    "IntersectionErr": "intersection_error",
}
"""What follows the prefix -> name of the layer it becomes."""
OFFSET_TAG = "POINT_OFFSET"
"""Where the cloud names the geocentric point that its coordinates, in single precision, count from."""
EARTH_AXIS_M = 6_378_137.0


def is_asp_folder(path: Path) -> bool:
    """Return whether a folder holds a DEM or a point cloud of the Ames Stereo Pipeline, by names alone."""
    if not path.is_dir():
        return False
    return any(path.glob(f"*{DEM}")) or any(path.glob(f"*{CLOUD}"))


def open_asp(path: Path) -> Scene:
    """Open a folder with ``<prefix>-DEM.tif``: DSM, ``-DRG`` as ortho, errors as layers, ``-PC`` as points.

    Heights are above the ellipsoid unless the DEM says another datum; ``-VerticalStdDev`` is the layer ``sigma``.

    Raises
    ------
    InputError
        There is no DEM, there are several, or a file is damaged or lies on another grid.
    """
    dsm = only(path, matching(path, f"*{DEM}"), "DEMs", "give one of them as --dsm, or a folder with one prefix")
    if dsm is None:
        raise InputError(f"{path} holds no *{DEM}; make it of the cloud: point2dem --t_srs EPSG:<UTM zone> *{CLOUD}.")
    prefix = dsm.name.removesuffix(DEM)
    ortho = one_of(path, f"{prefix}-DRG.tif")
    orthos = {} if ortho is None else {"drg": ortho}
    scene = build_scene(SceneFiles(path.name, path, vertical=ellipsoidal(dsm), dsm=dsm, orthos=orthos))
    layers = _layers(path, prefix)
    parts: dict[str, Any] = {"layers": layers}
    cloud = one_of(path, f"{prefix}{CLOUD}")
    if cloud is not None:
        parts["points"] = _cloud(cloud, scene)
    used = [dsm, ortho, cloud, *(source.files[0] for source in layers.values())]
    return completed(scene, left_over(path, used, f"{prefix}-*.tif"), **parts)


def _layers(path: Path, prefix: str) -> dict[str, RasterSource[Image]]:
    """Return the rasters of errors; a vector of errors becomes a layer a component."""
    found: dict[str, RasterSource[Image]] = {}
    for ending, name in LAYERS.items():
        if (file := one_of(path, f"{prefix}-{ending}.tif")) is None:
            continue
        source = open_image(file)
        if source.bands == 1:
            found[name] = source
        else:
            found |= {f"{name}_{'xyz'[band]}": OneBand(source, band) for band in range(min(source.bands, 3))}
    return found


def _cloud(path: Path, scene: Scene) -> PointFile:
    """Return the geocentric cloud in the CRS of the DEM, heights above its ellipsoid.

    Raises
    ------
    InputError
        The cloud is of another planet, or its offset is no three numbers.
    """
    assert scene.grid is not None and scene.grid.crs is not None  # a DEM has both
    header = RasterFile(path).header
    datum = scene.grid.crs.to_dict(projjson=True)
    text = str(header.tags.get(OFFSET_TAG, "0 0 0")).replace(",", " ").split()
    try:
        offset = [float(word) for word in text]
    except ValueError:
        offset = []
    if len(offset) != 3:
        raise InputError(f"{path}: the tag {OFFSET_TAG} must hold three numbers, got {' '.join(text)[:60]!r}.")
    if (axis := _semi_major_axis(datum)) is not None and abs(axis - EARTH_AXIS_M) > 1000.0:
        raise InputError(
            f"{path} is a cloud of another body (semi-major axis {axis:g} m); remove it to use the DEM alone."
        )
    reader = RasterPoints([path], CRS.from_epsg(4978), scene.grid.crs, offset=offset, zero_is_nodata=True)
    return open_raster_points(reader, scene.grid.crs, "ellipsoid")


def _semi_major_axis(tree: Any) -> float | None:  # noqa: ANN401  # PROJJSON
    """Return the semi-major axis in metres that a CRS names, None where it names none."""
    if isinstance(tree, dict):
        if isinstance(tree.get("semi_major_axis"), int | float):
            return float(tree["semi_major_axis"])
        tree = list(tree.values())
    found = (_semi_major_axis(part) for part in tree) if isinstance(tree, list) else ()
    return next((axis for axis in found if axis is not None), None)
