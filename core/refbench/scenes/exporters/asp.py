"""A scene as output of the Ames Stereo Pipeline: ``<scene>-DEM.tif`` and, beside it, ortho, errors and cloud."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform as proj_transform

from refbench.contracts.raster import Image
from refbench.files.names import as_file_name
from refbench.formats.raster_write import write_image
from refbench.scenes.exporters.tree import (
    first_ortho,
    not_written,
    surface_of,
    write_heights,
    write_layer,
    write_ortho,
)
from refbench.scenes.importers.asp import CLOUD, DEM, LAYERS

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene

NODATA = -1e6
TAGS = {"AREA_OR_POINT": "Point"}
"""ASP states grids by the centres of pixels."""


def write_asp(scene: Scene, folder: Path) -> list[str]:
    """Write the folder; the cloud is geocentric, in double precision, heights taken as above the ellipsoid.

    Returns
    -------
    What has no place there.
    """
    dsm = surface_of(scene, "the Ames Stereo Pipeline")
    prefix = as_file_name(scene.id)
    write_heights(folder / f"{prefix}{DEM}", dsm, NODATA, TAGS)
    ortho, notes = first_ortho(scene)
    if ortho is not None:
        write_ortho(folder / f"{prefix}-DRG.tif", ortho)
    endings = {name: ending for ending, name in LAYERS.items() if name in scene.layers}
    for name, ending in endings.items():
        write_layer(folder / f"{prefix}-{ending}.tif", scene.layers[name], dsm.grid, NODATA, TAGS)
    if scene.points is not None and dsm.grid.crs is not None:
        _write_cloud(folder / f"{prefix}{CLOUD}", scene.points.read().xyz, dsm.grid.crs)
    return notes + not_written(scene, layers=endings)


def _write_cloud(path: Path, xyz: np.ndarray[tuple[int, int], np.dtype[np.float64]], crs: CRS) -> None:
    """Write points [N, 3] as a raster of x, y, z and error; pixels past the last point are 0, which holds none."""
    place = np.stack(proj_transform(crs, CRS.from_epsg(4978), *xyz.T))
    side = math.ceil(math.sqrt(place.shape[1]))
    rows = math.ceil(place.shape[1] / side)
    bands = np.zeros((4, rows * side))
    bands[:3, : place.shape[1]] = place
    write_image(path, Image(bands.reshape(4, rows, side), None), tags={"POINT_OFFSET": "0 0 0"})
