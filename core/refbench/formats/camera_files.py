"""Cameras in files: pinhole and affine in YAML, RPCs in TIFF tags or in ``_RPC.TXT`` beside the image.

A pinhole file (OpenCV axes: x right, y down, z forward; integer image coordinates are pixel centres)::

    camera: pinhole
    K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]     # pixels
    R: [[...], [...], [...]]                     # world to camera
    t: [tx, ty, tz]                              # X_camera = R X_world + t, scene units
    width: 640                                   # optional
    height: 480

An affine file: ``camera: affine``, ``matrix`` [2, 3], ``offset`` [2] and ``origin`` [3] of
``(col, row) = matrix (X - origin) + offset``, optional ``frame``, ``down`` and ``max_error_px``.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from refbench.contracts.errors import ConfigError, InputError
from refbench.files.atomic import atomic_file
from refbench.files.yaml_file import check_keys, read_mapping
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole
from refbench.geometry.rpc import RPC

if TYPE_CHECKING:
    from rasterio.crs import CRS

    from refbench.contracts.camera import Camera
    from refbench.formats.raster import ImageFile

_KEYS = {
    "pinhole": ("K", "R", "t", "width", "height"),
    "affine": tuple(field.name for field in fields(AffineCamera)),
}


def read_camera(path: str | Path, crs: CRS | None = None) -> Camera:
    """Return the camera of a YAML file or of an ``_RPC.TXT`` file, whose scene coordinates are then in ``crs``.

    Raises
    ------
    InputError
        A missing file, an unknown key or kind, or values of a wrong shape; the message names the file.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".txt":
            return _read_rpc_text(path, crs)
        content = read_mapping(path)
        kind = content.pop("camera", "pinhole")
        if kind not in _KEYS:
            raise ConfigError(f"camera is pinhole or affine, got {kind!r}")
        check_keys("camera", content, _KEYS[kind])
        return Pinhole.from_dict(content) if kind == "pinhole" else _affine(content)
    except InputError as error:
        message = str(error)
        if str(path) in message:
            raise
        raise type(error)(f"{path}: {message}") from error


def _affine(content: dict[str, Any]) -> AffineCamera:
    missing = [name for name in ("matrix", "offset", "origin") if name not in content]
    if missing:
        raise ConfigError(f"an affine camera needs matrix, offset and origin; {', '.join(missing)} is missing")
    try:
        arrays = {name: np.asarray(content.pop(name), np.float64) for name in ("matrix", "offset", "origin")}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"matrix, offset and origin must be numbers: {error}") from error
    options: dict[str, Any] = {**arrays, **content}
    return AffineCamera(**options)


def _read_rpc_text(path: Path, crs: CRS | None) -> RPC:
    try:
        return RPC.from_text(path.read_text(encoding="utf-8", errors="replace"), crs)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def write_camera(path: str | Path, camera: Camera) -> None:
    """Write a pinhole or affine camera as YAML, an RPC as ``_RPC.TXT``; all digits are kept.

    Raises
    ------
    InputError
        A camera of another kind, or a file that cannot be written.
    """
    if isinstance(camera, RPC):
        text = "".join(_rpc_lines(camera))
    elif isinstance(camera, Pinhole):
        text = _dump({"camera": "pinhole", **camera.to_dict()})
    elif isinstance(camera, AffineCamera):
        values = {field.name: getattr(camera, field.name) for field in fields(camera)}
        plain = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}
        text = _dump({"camera": "affine", **plain})
    else:
        raise InputError(f"A camera of type {type(camera).__name__} has no file format; use pinhole, affine or RPC.")
    with atomic_file(path) as file:
        file.write(text.encode())


def _dump(content: dict[str, Any]) -> str:
    kept = {name: value for name, value in content.items() if value is not None}
    return yaml.safe_dump(kept, sort_keys=False, default_flow_style=None, width=120)


def _rpc_lines(camera: RPC) -> list[str]:
    lines = []
    for key, value in camera.to_tags().items():
        if key.endswith("_COEFF"):
            lines += [f"{key}_{i}: {number}\n" for i, number in enumerate(value.split(), 1)]
        else:
            lines.append(f"{key}: {value}\n")
    return lines


def rpc_of_image(image: ImageFile, crs: CRS | None = None) -> RPC | None:
    """Return the RPC in an image's tags, or in ``<stem>_RPC.TXT`` beside it; None where there is neither."""
    if image.rpcs is not None:
        try:
            return RPC.from_dict(image.rpcs, crs)
        except InputError as error:
            raise InputError(f"{image.files[0]}: {error}") from error
    path = image.files[0]
    for name in (f"{path.stem}_RPC.TXT", f"{path.stem}_rpc.txt", f"{path.stem}_RPC.txt"):
        if (beside := path.with_name(name)).is_file():
            return _read_rpc_text(beside, crs)
    return None
