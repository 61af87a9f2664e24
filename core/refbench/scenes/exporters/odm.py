"""A scene as a project of OpenDroneMap: DSM, orthophoto and georeferenced cloud where its later steps look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.points import PointCloud
from refbench.formats.cloud_write import write_points
from refbench.scenes.exporters.tree import first_ortho, not_written, surface_of, write_heights, write_ortho
from refbench.scenes.importers.odm import CLOUDS, DSM, ORTHO

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene

NODATA = -9999.0


def write_odm(scene: Scene, folder: Path) -> list[str]:
    """Write the three products; images and their reconstruction stay in the project that they came from.

    Returns
    -------
    What has no place there.
    """
    dsm = surface_of(scene, "OpenDroneMap")
    write_heights(folder / DSM, dsm, NODATA)
    ortho, notes = first_ortho(scene)
    if ortho is not None:
        write_ortho(folder / ORTHO, ortho)
    if scene.points is not None:
        cloud = scene.points.read()
        (folder / CLOUDS[0]).parent.mkdir(parents=True)
        parts = {name: getattr(cloud, name) for name in ("colour", "intensity", "classes")}
        write_points(folder / CLOUDS[0], PointCloud(cloud.xyz, dsm.grid.crs, cloud.vertical, **parts))
    return notes + not_written(scene)
