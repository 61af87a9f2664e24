"""COLMAP sparse models, text and binary: cameras, poses, points with their tracks.

COLMAP's image coordinates have their origin at the corner of the first pixel; here its centre is (0, 0), so half a
pixel is taken off at the file. Poses map world to camera, OpenCV axes. A model has a frame and a scale of its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from refbench.contracts.errors import InputError, MissingFileError
from refbench.formats.undistorted import Distortion
from refbench.geometry.cameras import Pinhole, rotation_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MODELS = {0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8)}
"""COLMAP's number of a camera model -> its name and how many parameters it has."""
PARAMETERS = dict(MODELS.values())
KINDS = ("cameras", "images", "points3D")
CORNER_PX = 0.5
"""COLMAP's coordinate of the first pixel's centre, which is 0 here."""

T = TypeVar("T", "ColmapCamera", "ColmapImage")


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
        return np.array([[fx, 0, cx - CORNER_PX], [0, fy, cy - CORNER_PX], [0, 0, 1.0]])

    @property
    def distortion(self) -> Distortion | None:
        """k1, k2, p1, p2 of the lens, None where there is none."""
        if self.model in ("SIMPLE_PINHOLE", "PINHOLE"):
            return None
        rest = self.params[3:] if self.model != "OPENCV" else self.params[4:]
        found = (*rest, 0.0, 0.0, 0.0)[:4] if self.model != "OPENCV" else rest
        return None if not any(found) else Distortion(*found)

    def pinhole(self, qvec: Sequence[float] | Floats, tvec: Sequence[float] | Floats) -> Pinhole:
        """Return the camera of a pose (quaternion w, x, y, z and translation, world to camera), without distortion."""
        return Pinhole(self.K, rotation_of(qvec), np.asarray(tvec, np.float64), self.width, self.height)


@dataclass(frozen=True, slots=True, eq=False)
class ColmapImage:
    """One posed image: quaternion (w, x, y, z) and translation, world to camera; its camera's id.

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
        return self.cameras[image.camera].pinhole(image.qvec, image.tvec)

    def seen_by(self, image: ColmapImage) -> tuple[Floats, Floats]:
        """Return the observations [n, 2] of an image that have a point, and these points [n, 3]."""
        order = np.argsort(self.point_ids)
        place = np.searchsorted(self.point_ids, image.tracks, sorter=order)
        known = (image.tracks >= 0) & (place < len(order))
        found = order[np.where(known, place, 0)] if len(order) else np.zeros(len(image.tracks), np.int64)
        known &= self.point_ids[found] == image.tracks if len(order) else False
        return image.points2d[known], self.xyz[found[known]]


def read_model(folder: Path) -> ColmapModel:
    """Read a model, binary where it is there, else text.

    Raises
    ------
    MissingFileError
        One of the three files is missing.
    InputError
        A broken line or a truncated file; a camera model that is not supported; an image whose camera is missing, or
        two of one name.
    """
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    paths = {kind: folder / f"{kind}{suffix}" for kind in KINDS}
    if missing := [path for path in paths.values() if not path.is_file()]:
        raise MissingFileError(f"{folder} is no COLMAP model: it lacks {missing[0].name}.")
    if suffix == ".txt":
        cameras, images = _text_cameras(paths["cameras"]), _text_images(paths["images"])
        points = _text_points(paths["points3D"])
    else:
        cameras, images = _binary_cameras(paths["cameras"]), _binary_images(paths["images"])
        points = _binary_points(paths["points3D"])
    _check_images(paths["images"], images, cameras)
    _check_points(paths["points3D"], points[1])
    return ColmapModel(cameras, images, *points)


def _check_points(path: Path, xyz: Floats) -> None:
    """Refuse points [N, 3] that are nowhere."""
    if lost := int((~np.isfinite(xyz).all(axis=1)).sum()):
        raise InputError(f"{path}: {lost} of {len(xyz)} points have coordinates that are not finite; remove them.")


def _check_images(path: Path, images: Mapping[int, ColmapImage], cameras: Mapping[int, ColmapCamera]) -> None:
    """Refuse images whose camera is missing, and two of one name."""
    names: dict[str, int] = {}
    for number, image in images.items():
        if image.camera not in cameras:
            held = ", ".join(map(str, sorted(cameras))) or "none"
            raise InputError(
                f"{path}: image {number} ({image.name}) names camera {image.camera}, but {path.with_stem('cameras')} "
                f"holds {held}; export the model again."
            )
        if image.name in names:
            raise InputError(f"{path}: images {names[image.name]} and {number} are both called {image.name}.")
        names[image.name] = number


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
    found: dict[int, ColmapCamera] = {}
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        try:
            params = tuple(float(word) for word in words[4:])
            values = int(words[0]), words[1], int(words[2]), int(words[3])
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: {line!r} is not CAMERA_ID MODEL WIDTH HEIGHT PARAMS.") from None
        _add(path, found, "camera", values[0], _camera(path, *values[1:], params))
    return found


def _text_images(path: Path) -> dict[int, ColmapImage]:
    lines = list(_lines(path))
    while lines and not lines[-1][1].strip():
        lines.pop()
    found: dict[int, ColmapImage] = {}
    for place in range(0, len(lines), 2):
        number, line = lines[place]
        words = line.split(maxsplit=9)
        try:
            pose = np.array([float(word) for word in words[1:8]])
            seen = np.array((lines[place + 1][1] if place + 1 < len(lines) else "").split(), np.float64).reshape(-1, 3)
            image = _image(words[9].strip(), int(words[8]), pose, seen[:, :2], seen[:, 2])
            key = int(words[0])
        except (ValueError, IndexError):
            raise InputError(
                f"{path}, line {number}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and a line of X Y "
                "POINT3D_ID below it."
            ) from None
        _add(path, found, "image", key, image)
    return found


def _add(path: Path, found: dict[int, T], kind: str, number: int, entry: T) -> None:
    """Add an entry under its number.

    Raises
    ------
    InputError
        The number is taken: which of both is meant cannot be told.
    """
    if number in found:
        raise InputError(f"{path} lists {kind} {number} twice; export the model again.")
    found[number] = entry


def _image(name: str, camera: int, pose: Floats, corner_xy: Floats, tracks: NDArray[Any]) -> ColmapImage:
    """Return an image of a pose [7] (quaternion, translation) with observations as COLMAP writes them, [n, 2]."""
    return ColmapImage(name, camera, pose[:4], pose[4:], corner_xy - CORNER_PX, tracks.astype(np.int64))


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
    data = _Bytes(path)
    found: dict[int, ColmapCamera] = {}
    for _ in range(data.take("Q")[0]):
        number, model, width, height = data.take("iiQQ")
        if model not in MODELS:
            raise InputError(f"{path}: camera {number} has model number {model}, which is not supported.")
        name, count = MODELS[model]
        camera = _camera(path, name, width, height, data.take("d" * count))
        _add(path, found, "camera", number, camera)
    return found


_TRACK = np.dtype([("image", "<i4"), ("place", "<i4")])
_SEEN = np.dtype([("xy", "<f8", 2), ("track", "<i8")])


def _binary_images(path: Path) -> dict[int, ColmapImage]:
    data = _Bytes(path)
    found: dict[int, ColmapImage] = {}
    for _ in range(data.take("Q")[0]):
        number, *pose, camera = data.take("i7di")
        name = data.text()
        seen = data.array(_SEEN, data.take("Q")[0])
        _add(path, found, "image", number, _image(name, camera, np.array(pose), seen["xy"], seen["track"]))
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


def image_count(folder: Path) -> int:
    """Return how many images a model holds, without reading them all; 0 where that cannot be told."""
    try:
        if (path := folder / "images.bin").is_file():
            with path.open("rb") as file:
                return int(struct.unpack("<Q", file.read(8))[0])
        # Two lines an image: its pose, and its observations, which may be an empty line.
        lines = [line for _, line in _lines(folder / "images.txt")]
        return (len(lines) + 1) // 2
    except (OSError, struct.error, InputError):
        return 0
