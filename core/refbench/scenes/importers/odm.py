"""Projects of OpenDroneMap: ``odm_dem``, ``odm_georeferencing``, ``odm_orthophoto`` and OpenSfM's reconstruction.

``refbench.scenes.exporters.odm`` writes such a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.formats.opensfm import read_reconstruction
from refbench.geometry.local_frame import LocalFrame
from refbench.scenes.build import SceneFiles, build_scene
from refbench.scenes.importers.opensfm import IMAGES, shot_views
from refbench.scenes.importers.output_folder import completed, left_over, one_of

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.crs import CRS

    from refbench.contracts.scene import Scene, View

DSM = "odm_dem/dsm.tif"
CLOUDS = ("odm_georeferencing/odm_georeferenced_model.laz", "odm_georeferencing/odm_georeferenced_model.las")
ORTHO = "odm_orthophoto/odm_orthophoto.tif"
RECONSTRUCTION = "opensfm/reconstruction.json"


def is_odm_folder(path: Path) -> bool:
    """Return whether a folder is a project of OpenDroneMap, by names alone."""
    return path.is_dir() and (
        (path / DSM).is_file() or ((path / "odm_georeferencing").is_dir() and (path / RECONSTRUCTION).is_file())
    )


def open_odm(path: Path) -> Scene:
    """Open a project: DSM, orthophoto, cloud, and the images as views in the CRS of the DSM.

    Raises
    ------
    InputError
        There is no DSM, or a file is damaged.
    """
    dsm = path / DSM
    if not dsm.is_file():
        raise InputError(
            f"{path} holds no {DSM}; run OpenDroneMap with --dsm, or give its cloud as --points with --gsd."
        )
    ortho, cloud = one_of(path, ORTHO), one_of(path, *CLOUDS)
    orthos = {} if ortho is None else {"orthophoto": ortho}
    scene = build_scene(SceneFiles(path.name, path, dsm=dsm, points=() if cloud is None else (cloud,), orthos=orthos))
    parts: dict[str, Any] = {}
    notes: list[str] = []
    if (path / RECONSTRUCTION).is_file() and scene.grid is not None and scene.grid.crs is not None:
        parts["views"], notes = _views(path, scene.grid.crs)
    notes += left_over(path / "odm_dem", [dsm])
    return completed(scene, notes, **parts)


def _views(path: Path, crs: CRS) -> tuple[dict[str, View], list[str]]:
    """Return the images in the CRS of the DSM, or none and the reason."""
    found = read_reconstruction(path / RECONSTRUCTION)
    notes = list(found.notes)
    if found.reference is None:
        return {}, [*notes, f"{path / RECONSTRUCTION} has no reference_lla, so its views cannot be placed on the DSM."]
    gone = [shot.name for shot in found.shots if not (path / IMAGES / shot.name).is_file()]
    if gone:
        return {}, [*notes, f"{len(gone)} of {len(found.shots)} images of {path} are gone ({gone[0]}): no views."]
    return shot_views(found, path / IMAGES, LocalFrame.at(*found.reference, crs).camera), notes
