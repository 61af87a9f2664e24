"""The files that depth mode leaves beside depth maps and DSM: points, meshes and confidence maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.files.names import as_file_name
from refbench.formats.raster_write import write_band
from refbench_diffrender.outputs.ply import write_ply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from refbench_diffrender.outputs.fusion import SurfacePoints
    from refbench_diffrender.outputs.surface_mesh import SurfaceMesh


def write_points(folder: Path, points: SurfacePoints, crs: Any = None) -> dict[str, Path]:  # noqa: ANN401  # rasterio's
    """Write ``points.ply``; nothing where there are no points."""
    if not len(points.xyz):
        return {}
    path = folder / "points.ply"
    write_ply(
        path,
        points.xyz,
        normals=points.normals,
        colour=points.colour,
        confidence=points.confidence,
        comment=_comment(crs),
    )
    return {"points": path}


def write_meshes(folder: Path, meshes: Mapping[str, SurfaceMesh], crs: Any = None) -> dict[str, Path]:  # noqa: ANN401
    """Write ``<name>.ply`` of every mesh that has a triangle."""
    found = {}
    for name, mesh in meshes.items():
        if len(mesh.triangles):
            path = folder / f"{as_file_name(name)}.ply"
            write_ply(path, mesh.vertices, colour=mesh.colour, triangles=mesh.triangles, comment=_comment(crs))
            found[as_file_name(name)] = path
    return found


def write_confidences(folder: Path, maps: Mapping[str, NDArray[np.float32]]) -> dict[str, Path]:
    """Write ``confidence_<view>.tif`` of every view, in its pixels. Maps are float32 [rows, cols] in [0, 1]."""
    found = {}
    for view, values in maps.items():
        name = f"confidence_{as_file_name(view)}"
        found[name] = folder / f"{name}.tif"
        write_band(found[name], values, None, "confidence")
    return found


def _comment(crs: Any) -> str:  # noqa: ANN401  # rasterio's CRS or None
    return "" if crs is None else f"crs {crs.to_string()}"
