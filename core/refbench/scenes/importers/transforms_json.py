"""Folders with ``transforms.json``, as nerfstudio and instant-ngp take them: images, maybe depths and points.

Poses lead from the camera to the world, in OpenGL's axes (x right, y up, z backward); image coordinates count from the
corner of the first pixel. Here they lead to the camera, in OpenCV's axes, and count from its centre.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError, MissingFileError
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import Image
from refbench.contracts.scene import Scene, View
from refbench.files.json_text import parse_json
from refbench.formats.cloud import HeldPoints, open_points
from refbench.formats.raster import ArraySource, open_image
from refbench.formats.undistorted import Distortion, UndistortedImage
from refbench.geometry.cameras import Pinhole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.source import RasterSource
    from refbench.formats.raster import ImageFile

FILE = "transforms.json"
CORNER_PX = 0.5
FLIP = np.diag([1.0, -1.0, -1.0])
"""OpenGL's axes of a camera to OpenCV's, and back."""
FLAT_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "")
IMAGE_ENDINGS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
"""What may lack at a file's name, as in instant-ngp's and the NeRF data sets."""
DEPTH_UNIT = 1e-3
LENS = ("k1", "k2", "p1", "p2", "k3")


def is_transforms_json_folder(path: Path) -> bool:
    """Return whether a folder holds ``transforms.json``, by names alone."""
    return path.is_dir() and (path / FILE).is_file()


def open_transforms_json(path: Path) -> Scene:
    """Open a folder: a view a frame, its depth map where the frame names one, the cloud of ``ply_file_path``.

    Frame and scale are those of the file.

    Raises
    ------
    InputError
        The file is broken, a frame lacks its pose, its intrinsics or its image, or a lens is no flat one.
    """
    file = path / FILE
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not valid JSON: {error}.") from error
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{file} holds no list of frames.")
    if len(frames) < 2:
        raise InputError(f"{file} holds {len(frames)} frames; two are needed.")
    stems = [Path(str(frame.get("file_path", ""))).stem for frame in frames]
    views: dict[str, View] = {}
    for number, (frame, stem) in enumerate(zip(frames, stems, strict=True), 1):
        where = f"{file}, frame {number}"
        name = stem if stems.count(stem) == 1 else str(frame.get("file_path"))
        if name in views:
            raise InputError(f"{where} names the image {name} a second time.")
        views[name] = _view(where, path, name, {**content, **frame})
    return Scene(path.name, points=_points(path, content), views=views, folder=path)


def _view(where: str, path: Path, name: str, said: Mapping[str, Any]) -> View:
    """Return the view of a frame; ``said`` are its keys and, below them, those of the file."""
    source = open_image(_image(where, path, said.get("file_path")), in_camera=True)
    model = str(said.get("camera_model", ""))
    if model not in FLAT_MODELS or said.get("is_fisheye"):
        raise InputError(f"{where}: the camera model {model or 'fisheye'} is not supported; undistort the images.")
    try:
        camera = _camera(said, source.shape)
        lens = [float(said.get(key, 0.0)) for key in LENS]
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: its camera is broken: {error}.") from error
    image: RasterSource[Image] = source
    if any(lens):
        image = UndistortedImage(source, camera, Distortion(*lens))
    return View(name, image, camera, _depth(where, path, said, source))


def _image(where: str, path: Path, named: object) -> Path:
    if not isinstance(named, str) or not named:
        raise InputError(f"{where} names no image under file_path.")
    for ending in IMAGE_ENDINGS:
        if (file := path / f"{named}{ending}").is_file():
            return file
    raise MissingFileError(f"{path / named} is missing; {where} names it.")


def _camera(said: Mapping[str, Any], shape: tuple[int, int]) -> Pinhole:
    """Return the pinhole of a frame whose image has ``shape``; raises ``ValueError`` where a number is none."""
    rows, cols = shape
    width, height = int(said.get("w", cols)), int(said.get("h", rows))
    if (height, width) != shape:
        raise ValueError(f"it is for {width} x {height} px, the image has {cols} x {rows}")
    fx = _focal(said, "fl_x", "camera_angle_x", width)
    fy = _focal(said, "fl_y", "camera_angle_y", height) if {"fl_y", "camera_angle_y"} & said.keys() else fx
    cx, cy = float(said.get("cx", width / 2)) - CORNER_PX, float(said.get("cy", height / 2)) - CORNER_PX
    pose = np.asarray(said.get("transform_matrix"), np.float64)
    if pose.shape not in ((4, 4), (3, 4)):
        raise ValueError("transform_matrix must be 4 x 4")
    # Camera to world, its columns the camera's axes: transposed they lead back, and OpenCV's y and z are the opposite.
    R = FLIP @ pose[:3, :3].T
    return Pinhole(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), R, -R @ pose[:3, 3], width, height)


def _focal(said: Mapping[str, Any], pixels: str, angle: str, side: int) -> float:
    """Return a focal length in pixels, stated as such or by the angle (rad) over the whole side."""
    if pixels in said:
        return float(said[pixels])
    if angle not in said:
        raise ValueError(f"it has neither {pixels} nor {angle}")
    return side / (2 * math.tan(float(said[angle]) / 2))


def _depth(where: str, path: Path, said: Mapping[str, Any], image: ImageFile) -> RasterSource[Image] | None:
    """Return the depth map that a frame names: counts of ``depth_unit_scale_factor``, z, 0 where unknown."""
    named = said.get("depth_file_path")
    if named is None:
        return None
    file = path / str(named)
    if not file.is_file():
        raise MissingFileError(f"{file} is missing; {where} names it.")
    if file.suffix == ".npy":
        raise InputError(f"{where}: depth maps are read from images, not from {file.name}; write it as a 16-bit PNG.")
    source = open_image(file, in_camera=True)
    if source.shape != image.shape:
        raise InputError(f"{file} has {source.shape[1]} x {source.shape[0]} px, its image {image.shape[::-1]}.")
    return CountedDepth(source, float(said.get("depth_unit_scale_factor", DEPTH_UNIT)))


class CountedDepth:
    """A depth map of counts: ``unit`` times the count in scene units, NaN where the count is 0."""

    def __init__(self, source: ImageFile, unit: float) -> None:
        """Take the image of counts; nothing is read yet."""
        self.source, self.unit = source, unit

    @property
    def grid(self) -> Grid | None:
        """None: a map in camera pixels."""
        return None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.source.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The map's file."""
        return self.source.files

    def read(self, window: Window | None = None) -> Image:
        """Return the map [1, rows, cols] or a padded window of it; NaN where unknown."""
        counts = self.source.read().pixels[0].astype(np.float64)
        known = np.isfinite(counts) & (counts > 0)
        depth: NDArray[np.float32] = np.where(known, counts * self.unit, np.nan).astype(np.float32)
        return ArraySource(Image(depth[None], None, ("depth",), known)).read(window)


def _points(path: Path, content: Mapping[str, Any]) -> HeldPoints | None:
    """Return the cloud of ``ply_file_path``, None where there is none; it is in the frame of the poses."""
    named = content.get("ply_file_path")
    if not isinstance(named, str):
        return None
    cloud = open_points(path / named).read()
    return HeldPoints(PointCloud(cloud.xyz, None, colour=cloud.colour))
