"""OpenSfM data sets as scenes: posed images and their points, in metres east, north and up of a place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, MissingFileError
from refbench.contracts.points import PointCloud
from refbench.contracts.scene import Scene, View
from refbench.formats.cloud import HeldPoints
from refbench.formats.opensfm import read_reconstruction
from refbench.formats.raster import open_image
from refbench.formats.undistorted import UndistortedImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource
    from refbench.formats.opensfm import Reconstruction
    from refbench.geometry.cameras import Pinhole

RECONSTRUCTION = "reconstruction.json"
IMAGES = "images"


def is_opensfm_folder(path: Path) -> bool:
    """Return whether a folder holds ``reconstruction.json`` and ``images``, by names alone."""
    return path.is_dir() and (path / RECONSTRUCTION).is_file() and (path / IMAGES).is_dir()


def open_opensfm(path: Path) -> Scene:
    """Open a data set: views and points in the reconstruction's own frame, images straightened as they are read.

    Raises
    ------
    InputError
        As ``read_reconstruction``; an image that is missing or of another size than its camera's; fewer than two shots.
    """
    found = read_reconstruction(path / RECONSTRUCTION)
    if len(found.shots) < 2:
        raise InputError(f"{path / RECONSTRUCTION} holds {len(found.shots)} shots of flat lenses; two are needed.")
    views = shot_views(found, path / IMAGES, lambda camera: camera)
    points = HeldPoints(PointCloud(found.points, None, colour=found.colours)) if len(found.points) else None
    return Scene(id=path.name, views=views, points=points, folder=path, warnings=found.notes)


def shot_views(found: Reconstruction, images: Path, placed: Callable[[Pinhole], Pinhole]) -> dict[str, View]:
    """Return the views of a reconstruction, named by their files' stems or, where these clash, by their names.

    ``placed`` brings a camera of the reconstruction's frame into the scene's.

    Raises
    ------
    InputError
        An image is missing, or has another size than its camera.
    """
    stems = [Path(shot.name).stem for shot in found.shots]
    views = {}
    for shot, stem in zip(found.shots, stems, strict=True):
        name = stem if stems.count(stem) == 1 else shot.name
        file = images / shot.name
        if not file.is_file():
            raise MissingFileError(f"{file} is missing; the reconstruction names it.")
        source = open_image(file, in_camera=True)
        if source.shape != shot.camera.size:
            raise InputError(
                f"{file} has {source.shape[1]} x {source.shape[0]} px, its camera {shot.camera.width} x "
                f"{shot.camera.height}."
            )
        image: RasterSource[Image] = source
        if shot.lens is not None:
            image = UndistortedImage(source, shot.camera, shot.lens)
        views[name] = View(name, image, placed(shot.camera))
    return views
