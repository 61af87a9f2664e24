"""Cameras in files: YAML or JSON of every registered model; RPCs in TIFF tags and as vendors and tools write them.

A pinhole file (OpenCV axes: x right, y down, z forward; integer image coordinates are pixel centres)::

    camera: pinhole
    K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]     # pixels
    R: [[...], [...], [...]]                     # world to camera
    t: [tx, ty, tz]                              # X_camera = R X_world + t, scene units
    width: 640                                   # optional
    height: 480

An affine file: ``camera: affine``, ``matrix`` [2, 3], ``offset`` [2] and ``origin`` [3] of
``(col, row) = matrix (X - origin) + offset``, optional ``frame``, ``down`` and ``max_error_px``.

An RPC: ``_RPC.TXT``, ``.RPB``, OSSIM's ``.geom``, XML of DIMAP or WorldView, rpcm's JSON, or YAML with ``camera: rpc``.

A new model joins by one ``register_camera_format``; nothing else asks for the type of a camera.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.files.atomic import atomic_file
from refbench.files.yaml_file import check_keys, mapping, read_mapping
from refbench.files.yaml_text import yaml_document
from refbench.formats.rpc_files import tags_of_geom, tags_of_xml
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole
from refbench.geometry.rpc import RPC
from refbench.geometry.rpc_tags import OFFSETS, POLYNOMIALS, is_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rasterio.crs import CRS

    from refbench.contracts.camera import Camera
    from refbench.formats.raster import ImageFile

BESIDE = (
    *("_RPC.TXT", "_rpc.txt", "_RPC.txt", ".RPB", ".rpb", ".geom", ".GEOM", ".json", ".JSON", ".XML", ".xml"),
    *("_RPC.XML", "_rpc.xml"),
)
"""What follows an image's stem in the name of a file with its RPC; the first that is there counts."""
_RPC_TEXTS: dict[str, Callable[[str, CRS | None], RPC]] = {
    ".txt": RPC.from_text,
    ".rpb": RPC.from_rpb,
    ".geom": lambda text, crs: RPC.from_dict(tags_of_geom(text), crs),
    ".xml": lambda text, crs: RPC.from_dict(tags_of_xml(text), crs),
}


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """How cameras of one model are written and read.

    ``name`` stands in the file as ``camera: name``; ``keys`` are all others it may hold. ``to_mapping`` returns plain
    numbers, texts and lists, None for what is left out; ``from_mapping`` takes them and the scene's CRS. ``to_tags``,
    where there is one, returns TIFF tags of the namespace ``RPC``, which then stand for a file.
    """

    name: str
    model: type[Camera]
    keys: tuple[str, ...]
    to_mapping: Callable[[Any], Mapping[str, Any]]
    from_mapping: Callable[[Mapping[str, Any], CRS | None], Camera]
    to_tags: Callable[[Any], Mapping[str, str]] | None = None


_FORMATS: dict[str, CameraFormat] = {}


def register_camera_format(camera_format: CameraFormat) -> None:
    """Let cameras of a model be written and read.

    Raises
    ------
    ConfigError
        The name is taken by another model.
    """
    held = _FORMATS.setdefault(camera_format.name, camera_format)
    if held.model is not camera_format.model:
        raise ConfigError(f"The camera format {camera_format.name} is taken by {held.model.__name__}.")


def camera_format(camera: Camera) -> CameraFormat:
    """Return the format of a camera's model.

    Raises
    ------
    InputError
        The model has none.
    """
    for known in _FORMATS.values():
        if known.model is type(camera):
            return known
    names = ", ".join(known.model.__name__ for known in _FORMATS.values())
    raise InputError(f"A camera of type {type(camera).__name__} has no file format; formats are known of {names}.")


def read_camera(path: str | Path, crs: CRS | None = None) -> Camera:
    """Return the camera of a file; the scene coordinates of an RPC are then in ``crs``.

    The suffix tells the kind: ``.txt`` (``_RPC.TXT``), ``.rpb``, ``.geom`` and ``.xml`` hold an RPC, ``.json`` one or a
    registered model, any other is YAML of a registered model.

    Raises
    ------
    InputError
        A missing file, an unknown key or model, or values of a wrong shape; the message names the file.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in _RPC_TEXTS:
            return _RPC_TEXTS[path.suffix.lower()](_text(path), crs)
        content = _json(path) if path.suffix.lower() == ".json" else read_mapping(path)
        return RPC.from_dict(content, crs) if _is_bare_rpc(path, content) else _from_mapping(content, crs)
    except InputError as error:
        raise _naming(path, error) from error


def _is_bare_rpc(path: Path, content: Mapping[str, Any]) -> bool:
    """Return whether a JSON file holds an RPC as other tools write it, without ``camera``."""
    return path.suffix.lower() == ".json" and "camera" not in content and is_rpc(content)


def _naming(path: Path, error: InputError) -> InputError:
    """Return an error whose message names the file."""
    return error if str(path) in str(error) else type(error)(f"{path}: {error}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {path}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    return mapping(str(path), content)


def _from_mapping(content: Mapping[str, Any], crs: CRS | None) -> Camera:
    """Return the camera of a mapping with the key ``camera``, which may lack for a pinhole."""
    name = content.get("camera", "pinhole")
    if name not in _FORMATS:
        raise ConfigError(f"camera is {' or '.join(_FORMATS)}, got {name!r}")
    rest = {key: value for key, value in content.items() if key != "camera"}
    check_keys("camera", rest, _FORMATS[name].keys)
    return _FORMATS[name].from_mapping(rest, crs)


def write_camera(path: str | Path, camera: Camera) -> None:
    """Write a camera as YAML, or as ``_RPC.TXT`` where it has RPC tags and the suffix is ``.txt``; keep all digits.

    Raises
    ------
    InputError
        A camera whose model has no format, or a file that cannot be written.
    """
    known = camera_format(camera)
    if known.to_tags is not None and Path(path).suffix.lower() == ".txt":
        text = "".join(_tag_lines(known.to_tags(camera)))
    else:
        content = {"camera": known.name, **known.to_mapping(camera)}
        kept = {key: value for key, value in content.items() if value is not None}
        text = yaml_document(kept)
    with atomic_file(path) as file:
        file.write(text.encode())


def image_tags(camera: Camera) -> Mapping[str, str] | None:
    """Return the TIFF tags (namespace ``RPC``) by which an image carries its camera; None: it needs a file.

    Raises
    ------
    InputError
        The model has no format.
    """
    to_tags = camera_format(camera).to_tags
    return None if to_tags is None else to_tags(camera)


def _tag_lines(tags: Mapping[str, str]) -> list[str]:
    """Return the lines of an ``_RPC.TXT`` file."""
    lines = []
    for key, value in tags.items():
        if key.endswith("_COEFF"):
            lines += [f"{key}_{i}: {number}\n" for i, number in enumerate(value.split(), 1)]
        else:
            lines.append(f"{key}: {value}\n")
    return lines


def rpc_of_image(image: ImageFile, crs: CRS | None = None) -> RPC | None:
    """Return the RPC in an image's tags, else in a file of its stem beside it; None where there is neither.

    Beside it count ``<stem>_RPC.TXT``, ``<stem>.RPB``, ``<stem>.geom``, and ``<stem>.json`` and ``.xml`` where these
    hold an RPC.

    Raises
    ------
    InputError
        A broken RPC; the message names the file.
    """
    path = image.files[0]
    try:
        if image.rpcs is not None:
            return RPC.from_dict(image.rpcs, crs)
        for ending in BESIDE:
            path = image.files[0].with_name(image.files[0].stem + ending)
            if path.is_file() and (found := _rpc_beside(path, crs)) is not None:
                return found
    except InputError as error:
        raise _naming(path, error) from error
    return None


def _rpc_beside(path: Path, crs: CRS | None) -> RPC | None:
    if path.suffix.lower() == ".xml" and not _names_an_rpc(path):
        return None  # metadata of many kinds lie beside images as XML
    if path.suffix.lower() in _RPC_TEXTS:
        return _RPC_TEXTS[path.suffix.lower()](_text(path), crs)
    try:
        content = _json(path)
    except ConfigError:  # whatever it is, it is not about cameras
        return None
    return RPC.from_dict(content, crs) if is_rpc(content) else None


def _names_an_rpc(path: Path) -> bool:
    return any(word in _text(path) for word in ("<Global_RFM", "<RPB>"))


def _arrays(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return a mapping with those of ``names`` as arrays."""
    if missing := [name for name in names if name not in content]:
        raise ConfigError(f"an affine camera needs {', '.join(names)}; {', '.join(missing)} is missing")
    try:
        return {**content, **{name: np.asarray(content[name], np.float64) for name in names}}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{', '.join(names)} must be numbers: {error}") from error


def _affine_mapping(camera: AffineCamera) -> dict[str, Any]:
    values = asdict(camera)
    return {**values, **{name: values[name].tolist() for name in _AFFINE_ARRAYS}}


_AFFINE_ARRAYS = ("matrix", "offset", "origin")
_SIZE = ("width", "height")
register_camera_format(
    CameraFormat(
        "pinhole", Pinhole, ("K", "R", "t", *_SIZE), Pinhole.to_dict, lambda content, crs: Pinhole.from_dict(content)
    )
)
register_camera_format(
    CameraFormat(
        "affine",
        AffineCamera,
        tuple(field.name for field in fields(AffineCamera)),
        _affine_mapping,
        lambda content, crs: AffineCamera(**_arrays(content, _AFFINE_ARRAYS)),
    )
)
register_camera_format(
    CameraFormat("rpc", RPC, (*OFFSETS, *POLYNOMIALS, *_SIZE), RPC.to_dict, RPC.from_dict, RPC.to_tags)
)
