"""COLMAP reconstructions as scenes: pinhole views of the sparse model, its points, dense depth maps where there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, MissingFileError
from refbench.contracts.points import PointCloud
from refbench.contracts.scene import Scene, View
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import open_image
from refbench.formats.undistorted import UndistortedImage
from refbench.scenes.importers.colmap_dense import DenseDepth
from refbench.scenes.importers.colmap_model import KINDS, image_count, read_model

if TYPE_CHECKING:
    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource
    from refbench.scenes.importers.colmap_model import ColmapImage, ColmapModel

IMAGE_FOLDERS = ("images", "")
MODEL_FOLDERS = ("sparse", "colmap/sparse", "")
"""Where models lie: in the folder itself or, but for the last, in its sub-folders 0, 1, ..."""
DEPTH_MAPS = Path("stereo", "depth_maps")
DEPTH_SUFFIX = ".geometric.bin"


def model_folders(folder: Path) -> tuple[Path, ...]:
    """Return where COLMAP models lie in a folder, told by names alone; those of one kind of place only."""
    for name in MODEL_FOLDERS:
        base = folder / name
        below = sorted((p for p in base.iterdir() if p.is_dir()), key=_numeric) if name and base.is_dir() else []
        if found := tuple(place for place in (*below, base) if _is_model(place)):
            return found
    return ()


def _numeric(path: Path) -> tuple[int, str]:
    """Return what sorts 2 before 10."""
    return (int(path.name) if path.name.isdecimal() else 1 << 62, path.name)


def _is_model(folder: Path) -> bool:
    return any(all((folder / f"{kind}{suffix}").is_file() for kind in KINDS) for suffix in (".bin", ".txt"))


def is_colmap_folder(path: Path) -> bool:
    """Return whether a folder holds a COLMAP model and its images, by names alone."""
    return path.is_dir() and (path / "images").is_dir() and bool(model_folders(path))


def open_colmap(path: Path) -> Scene:
    """Open a folder with ``images`` and a sparse model: pinhole views and the sparse points, in the model's own frame.

    Images of lenses with distortion are undistorted as they are read. Of several models the one with most images is
    taken. A view is named by its file without suffix or, where images in several folders share that, by its path.
    Dense maps ``stereo/depth_maps/<image>.geometric.bin`` become the initial depths of their views.

    Raises
    ------
    InputError
        As ``read_model``; an image that is missing or of another size than its camera's.
    """
    found, warnings = _largest_model(path)
    return open_model(path, found, warnings)


def open_model(path: Path, found: Path, warnings: list[str]) -> Scene:
    """Open the sparse model in the folder ``found``, whose images lie in ``images`` of ``path`` or in it itself.

    Raises
    ------
    InputError
        See ``open_colmap``.
    """
    model = read_model(found)
    images = sorted(model.images.values(), key=lambda image: image.name)
    names = _view_names(images)
    if renamed := [name for name, image in zip(names, images, strict=True) if name == image.name != Path(name).stem]:
        warnings.append(
            f"{len(renamed)} images share their names with images of other folders; their views are named by path, "
            f"such as {renamed[0]}."
        )
    views = {name: _view(path, found, name, model, image) for name, image in zip(names, images, strict=True)}
    if any(model.cameras[image.camera].distortion is not None for image in images):
        warnings.append("The images are undistorted as they are read: their lenses have distortion.")
    depths = {name: depth for name, image in zip(names, images, strict=True) if (depth := _dense(path, image))}
    warnings += _give_depths(views, depths)
    points = HeldPoints(PointCloud(model.xyz, None, colour=model.rgb)) if len(model.xyz) else None
    return Scene(id=path.name, views=views, points=points, folder=path, warnings=tuple(warnings))


def _largest_model(path: Path) -> tuple[Path, list[str]]:
    """Return the folder of the model with most images, and a warning where there are others."""
    found = model_folders(path)
    if not found:
        raise MissingFileError(f"{path} holds no COLMAP model: cameras, images and points3D in text or binary form.")
    if len(found) == 1:
        return found[0], []
    sizes = {folder: image_count(folder) for folder in found}
    largest = max(found, key=sizes.__getitem__)
    others = ", ".join(f"{f.relative_to(path)} ({sizes[f]} images)" for f in found if f != largest)
    return largest, [
        f"{path} holds {len(found)} COLMAP models; the largest is used: {largest.relative_to(path)} "
        f"({sizes[largest]} images). Left out: {others}."
    ]


def _view_names(images: list[ColmapImage]) -> list[str]:
    """Return a name for every image: its stem, or its path in the model where stems clash."""
    stems = Counter(Path(image.name).stem for image in images)
    names = [image.name if stems[Path(image.name).stem] > 1 else Path(image.name).stem for image in images]
    return names if len(set(names)) == len(names) else [image.name for image in images]


def _view(path: Path, folder: Path, name: str, model: ColmapModel, image: ColmapImage) -> View:
    """Return the view of an image of the model in ``folder``; its file must lie below ``path``."""
    named = Path(image.name)
    if named.is_absolute() or ".." in named.parts:
        raise InputError(f"{folder}: the image name {image.name} leads out of {path}; COLMAP names lie below images.")
    file = next((f for where in IMAGE_FOLDERS if (f := path / where / image.name).is_file()), None)
    if file is None:
        raise MissingFileError(f"{path / 'images' / image.name} is missing; the COLMAP model names it.")
    source = open_image(file, in_camera=True)
    try:
        camera = model.pinhole(image)
    except InputError as error:
        raise InputError(f"{folder}: the pose or the camera of image {image.name} is broken. {error}") from error
    if source.shape != camera.size:
        raise InputError(
            f"{file} has {source.shape[1]} x {source.shape[0]} px, its COLMAP camera {camera.width} x {camera.height}."
        )
    distortion = model.cameras[image.camera].distortion
    straight: RasterSource[Image] = source if distortion is None else UndistortedImage(source, camera, distortion)
    return View(name, straight, camera, tie_points=model.seen_by(image)[1])


def _dense(path: Path, image: ColmapImage) -> DenseDepth | None:
    file = path / DEPTH_MAPS / f"{image.name}{DEPTH_SUFFIX}"
    return DenseDepth(file) if file.is_file() else None


def _give_depths(views: dict[str, View], depths: dict[str, DenseDepth]) -> list[str]:
    """Give dense maps to their views and return what the user should know about that."""
    unfit = [name for name, depth in depths.items() if depth.shape != views[name].image.shape]
    for name, depth in depths.items():
        if name not in unfit:
            views[name] = replace(views[name], depth=depth)
    notes = []
    if used := len(depths) - len(unfit):
        notes.append(f"{used} of {len(views)} views have a dense depth map of COLMAP: it is their initial depth.")
    if unfit:
        notes.append(
            f"{len(unfit)} dense depth maps are left out, for they differ in size from their image: {unfit[0]}."
        )
    return notes
