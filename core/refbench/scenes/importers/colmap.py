"""COLMAP sparse models, text and binary: cameras, poses, points with their tracks; as a scene of pinhole views.

COLMAP's image coordinates have their origin at the corner of the first pixel; here its centre is (0, 0), so half a
pixel is taken off at the file. Poses map world to camera, OpenCV axes. A model has a frame and a scale of its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError, MissingFileError
from refbench.contracts.points import PointCloud
from refbench.contracts.scene import Scene, View
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import open_image
from refbench.formats.undistorted import Distortion, UndistortedImage
from refbench.geometry.cameras import Pinhole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MODELS = {0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8)}
"""COLMAP's number of a camera model -> its name and how many parameters it has."""
PARAMETERS = dict(MODELS.values())
KINDS = ("cameras", "images", "points3D")
PICTURES = ("images", "")
MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "")


@dataclass(frozen=True, slots=True, eq=False)
class ColmapCamera:
    """Intrinsics ``params`` of ``model``, as COLMAP orders them; ``width`` and ``height`` in pixels."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def K(self) -> Floats:
        """Intrinsics [3, 3], pixel centres at integers."""
        single = self.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
        fx, fy, cx, cy = (self.params[0], *self.params[:3]) if single else self.params[:4]
        return np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1.0]])

    @property
    def distortion(self) -> Distortion | None:
        """k1, k2, p1, p2 of the lens, None where there is none."""
        if self.model in ("SIMPLE_PINHOLE", "PINHOLE"):
            return None
        rest = self.params[3:] if self.model != "OPENCV" else self.params[4:]
        found = (*rest, 0.0, 0.0, 0.0)[:4] if self.model != "OPENCV" else rest
        return None if not any(found) else Distortion(*found)


@dataclass(frozen=True, slots=True, eq=False)
class ColmapImage:
    """One posed picture: quaternion (w, x, y, z) and translation, world to camera; its camera's id.

    ``points2d`` float64 [n, 2] are observations, pixel centres at integers; ``tracks`` int64 [n] the ids of their
    points, -1 without one.
    """

    name: str
    camera: int
    qvec: Floats
    tvec: Floats
    points2d: Floats
    tracks: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ColmapModel:
    """A sparse model: cameras and images by id; ``point_ids`` int64 [N], ``xyz`` float64 [N, 3], ``rgb`` uint8."""

    cameras: Mapping[int, ColmapCamera]
    images: Mapping[int, ColmapImage]
    point_ids: NDArray[np.int64]
    xyz: Floats
    rgb: NDArray[np.uint8]

    def pinhole(self, image: ColmapImage) -> Pinhole:
        """Return the camera of an image, without its lens's distortion."""
        camera = self.cameras[image.camera]
        R = rotation(image.qvec)
        return Pinhole(camera.K, R, image.tvec, camera.width, camera.height)

    def seen_by(self, image: ColmapImage) -> tuple[Floats, Floats]:
        """Return the observations [n, 2] of an image that have a point, and these points [n, 3]."""
        order = np.argsort(self.point_ids)
        place = np.searchsorted(self.point_ids, image.tracks, sorter=order)
        known = (image.tracks >= 0) & (place < len(order))
        found = order[np.where(known, place, 0)] if len(order) else np.zeros(len(image.tracks), np.int64)
        known &= self.point_ids[found] == image.tracks if len(order) else False
        return image.points2d[known], self.xyz[found[known]]


def rotation(qvec: Floats) -> Floats:
    """Return the rotation [3, 3] of a quaternion (w, x, y, z) of any length."""
    w, x, y, z = np.asarray(qvec, np.float64) / np.linalg.norm(qvec)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_model(folder: Path) -> ColmapModel:
    """Read a model, binary where it is there, else text.

    Raises
    ------
    MissingFileError
        One of the three files is missing.
    InputError
        A broken line or a truncated file; a camera model that is not supported.
    """
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    paths = {kind: folder / f"{kind}{suffix}" for kind in KINDS}
    if missing := [path for path in paths.values() if not path.is_file()]:
        raise MissingFileError(f"{folder} is no COLMAP model: it lacks {missing[0].name}.")
    if suffix == ".txt":
        points = _text_points(paths["points3D"])
        return ColmapModel(_text_cameras(paths["cameras"]), _text_images(paths["images"]), *points)
    points = _binary_points(paths["points3D"])
    return ColmapModel(_binary_cameras(paths["cameras"]), _binary_images(paths["images"]), *points)


def _camera(path: Path, model: str, width: int, height: int, params: tuple[float, ...]) -> ColmapCamera:
    if model not in PARAMETERS:
        raise InputError(
            f"{path}: the camera model {model} is not supported; let COLMAP's image_undistorter make pinhole cameras."
        )
    if len(params) != PARAMETERS[model]:
        raise InputError(f"{path}: a {model} camera has {PARAMETERS[model]} parameters, got {len(params)}.")
    return ColmapCamera(model, width, height, params)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("#"):
            yield number, line


def _text_cameras(path: Path) -> dict[int, ColmapCamera]:
    found = {}
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        try:
            params = tuple(float(word) for word in words[4:])
            values = int(words[0]), words[1], int(words[2]), int(words[3])
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: {line!r} is not CAMERA_ID MODEL WIDTH HEIGHT PARAMS.") from None
        found[values[0]] = _camera(path, *values[1:], params)
    return found


def _text_images(path: Path) -> dict[int, ColmapImage]:
    lines = list(_lines(path))
    while lines and not lines[-1][1].strip():
        lines.pop()
    found = {}
    for place in range(0, len(lines), 2):
        number, line = lines[place]
        words = line.split(maxsplit=9)
        try:
            pose = np.array([float(word) for word in words[1:8]])
            seen = np.array((lines[place + 1][1] if place + 1 < len(lines) else "").split(), np.float64).reshape(-1, 3)
            image = ColmapImage(
                words[9].strip(), int(words[8]), pose[:4], pose[4:], seen[:, :2] - 0.5, seen[:, 2].astype(np.int64)
            )
            found[int(words[0])] = image
        except (ValueError, IndexError):
            raise InputError(
                f"{path}, line {number}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and a line of X Y "
                "POINT3D_ID below it."
            ) from None
    return found


def _text_points(path: Path) -> tuple[NDArray[np.int64], Floats, NDArray[np.uint8]]:
    ids, xyz, rgb = [], [], []
    for number, line in _lines(path):
        words = line.split(maxsplit=8)
        if not words:
            continue
        try:
            ids.append(int(words[0]))
            xyz.append([float(word) for word in words[1:4]])
            rgb.append([int(word) for word in words[4:7]])
        except (ValueError, IndexError):
            raise InputError(
                f"{path}, line {number}: {line[:60]!r} is not POINT3D_ID X Y Z R G B ERROR TRACK."
            ) from None
    return (
        np.array(ids, np.int64),
        np.array(xyz, np.float64).reshape(-1, 3),
        np.array(rgb, np.uint8).reshape(-1, 3),
    )


class _Bytes:
    """A binary file, read value by value; its end too early is an error."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error

    def take(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + form)
        if self.place + size > len(self.data):
            raise InputError(f"{self.path} ends too early: it is truncated or no COLMAP file.")
        values = struct.unpack_from("<" + form, self.data, self.place)
        self.place += size
        return values

    def array(self, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        if count < 0 or self.place + count * dtype.itemsize > len(self.data):
            raise InputError(f"{self.path} ends too early: it is truncated or no COLMAP file.")
        values = np.frombuffer(self.data, dtype, count, self.place)
        self.place += count * dtype.itemsize
        return values

    def text(self) -> str:
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise InputError(f"{self.path} ends too early: it is truncated or no COLMAP file.")
        found = self.data[self.place : end].decode("utf-8", errors="replace")
        self.place = end + 1
        return found


def _binary_cameras(path: Path) -> dict[int, ColmapCamera]:
    data, found = _Bytes(path), {}
    for _ in range(data.take("Q")[0]):
        number, model, width, height = data.take("iiQQ")
        if model not in MODELS:
            raise InputError(f"{path}: camera {number} has model number {model}, which is not supported.")
        name, count = MODELS[model]
        found[number] = _camera(path, name, width, height, data.take("d" * count))
    return found


_TRACK = np.dtype([("image", "<i4"), ("place", "<i4")])
_SEEN = np.dtype([("xy", "<f8", 2), ("track", "<i8")])


def _binary_images(path: Path) -> dict[int, ColmapImage]:
    data, found = _Bytes(path), {}
    for _ in range(data.take("Q")[0]):
        number, *pose, camera = data.take("i7di")
        name = data.text()
        seen = data.array(_SEEN, data.take("Q")[0])
        qvec, tvec = np.array(pose[:4]), np.array(pose[4:])
        found[number] = ColmapImage(name, camera, qvec, tvec, seen["xy"] - 0.5, seen["track"].astype(np.int64))
    return found


def _binary_points(path: Path) -> tuple[NDArray[np.int64], Floats, NDArray[np.uint8]]:
    data = _Bytes(path)
    count = data.take("Q")[0]
    if count * 43 > len(data.data):
        raise InputError(f"{path} ends too early: it is truncated or no COLMAP file.")
    ids, xyz, rgb = np.zeros(count, np.int64), np.zeros((count, 3)), np.zeros((count, 3), np.uint8)
    for place in range(count):
        ids[place], *values = data.take("Q3d3Bd")
        xyz[place], rgb[place] = values[:3], values[3:6]
        seen_by = data.take("Q")[0]
        data.array(_TRACK, seen_by)
    return ids, xyz, rgb


def model_folder(folder: Path) -> Path | None:
    """Return where a COLMAP model lies in a folder, by names alone; None where there is none."""
    for name in MODEL_FOLDERS:
        for suffix in (".bin", ".txt"):
            if all((folder / name / f"{kind}{suffix}").is_file() for kind in KINDS):
                return folder / name
    return None


def is_colmap_folder(path: Path) -> bool:
    """Return whether a folder holds a COLMAP model and its pictures, by names alone."""
    return path.is_dir() and (path / "images").is_dir() and model_folder(path) is not None


def open_colmap(path: Path) -> Scene:
    """Open a folder with ``images`` and a sparse model: pinhole views and the sparse points, in the model's own frame.

    Pictures of lenses with distortion are straightened as they are read.

    Raises
    ------
    InputError
        As ``read_model``; a picture that is missing or of another size than its camera's.
    """
    found = model_folder(path)
    if found is None:
        raise MissingFileError(f"{path} holds no COLMAP model: cameras, images and points3D in text or binary form.")
    model = read_model(found)
    views: dict[str, View] = {}
    warnings: list[str] = []
    for image in sorted(model.images.values(), key=lambda image: image.name):
        file = next((path / folder / image.name for folder in PICTURES if (path / folder / image.name).is_file()), None)
        if file is None:
            raise MissingFileError(f"{path / 'images' / image.name} is missing; the COLMAP model names it.")
        source = open_image(file, in_camera=True)
        camera = model.pinhole(image)
        if source.shape != (camera.height, camera.width):
            raise InputError(
                f"{file} has {source.shape[1]} x {source.shape[0]} px, its COLMAP camera {camera.width} x "
                f"{camera.height}."
            )
        distortion = model.cameras[image.camera].distortion
        name = Path(image.name).stem
        straight = source if distortion is None else UndistortedImage(source, camera, distortion)
        if distortion is not None and not warnings:
            warnings.append("The pictures are straightened: their lenses have distortion.")
        views[name] = View(name, straight, camera, tie_points=model.seen_by(image)[1])
    points = HeldPoints(PointCloud(model.xyz, None, colour=model.rgb)) if len(model.xyz) else None
    return Scene(id=path.name, views=views, points=points, folder=path, warnings=tuple(warnings))
