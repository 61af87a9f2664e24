"""OpenSfM reconstructions: cameras, poses and points in a topocentric frame about a reference place.

Image coordinates there are divided by the longer side of the image and counted from its middle; poses lead from the
world to the camera as an axis times an angle and a translation, OpenCV axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from refbench.contracts.errors import InputError
from refbench.files.json_text import parse_json
from refbench.formats.undistorted import Distortion
from refbench.geometry.cameras import Pinhole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLAT_LENSES = {"perspective": ("focal",), "brown": ("focal_x", "focal_y", "c_x", "c_y")}
"""Projections that a pinhole with a lens of OpenCV's model can stand for -> keys of their focal lengths and centre."""
LENS = ("k1", "k2", "p1", "p2", "k3")
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One posed image: its pinhole in the topocentric frame, and its lens where that has distortion."""

    name: str
    camera: Pinhole
    lens: Distortion | None


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """Shots, points [N, 3] (metres east, north, up of ``reference``) with colours uint8 [N, 3], and what was left out.

    ``reference`` is (latitude, longitude, altitude) in degrees and metres, None where the reconstruction has none.
    """

    shots: tuple[Shot, ...]
    points: Floats
    colours: NDArray[np.uint8]
    reference: tuple[float, float, float] | None
    notes: tuple[str, ...] = field(default=())


def read_reconstruction(path: Path) -> Reconstruction:
    """Read the largest reconstruction of a ``reconstruction.json``.

    Raises
    ------
    InputError
        It is no such file, or lacks a camera that a shot names; the message says which.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES >> 20} MiB.")
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    parts = content if isinstance(content, list) else [content]
    if not parts or not all(isinstance(part, dict) and isinstance(part.get("shots"), dict) for part in parts):
        raise InputError(f"{path} is no reconstruction of OpenSfM: it holds no list of cameras, shots and points.")
    largest = max(parts, key=lambda part: len(part["shots"]))
    notes = []
    if len(parts) > 1:
        counts = ", ".join(str(len(part["shots"])) for part in parts)
        notes.append(f"{path} holds {len(parts)} reconstructions ({counts} shots); the largest is used.")
    try:
        return _reconstruction(path, largest, notes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no reconstruction of OpenSfM: {type(error).__name__} {error}.") from error


def _reconstruction(path: Path, part: Mapping[str, Any], notes: list[str]) -> Reconstruction:
    cameras, shots = part["cameras"], []
    bent: dict[str, int] = {}
    for name, shot in sorted(part["shots"].items()):
        if shot["camera"] not in cameras:
            raise InputError(f"{path}: the shot {name} names the camera {shot['camera']}, which is not there.")
        camera = cameras[shot["camera"]]
        kind = str(camera.get("projection_type", "perspective"))
        if kind not in FLAT_LENSES:
            bent[kind] = bent.get(kind, 0) + 1
            continue
        shots.append(_shot(name, shot, camera, kind))
    notes += [f"{number} shots of {path} have a {kind} lens, which no pinhole can be." for kind, number in bent.items()]
    points = list(part.get("points", {}).values())
    xyz = np.array([point["coordinates"] for point in points], np.float64).reshape(-1, 3)
    colours = np.array([point.get("color", (0, 0, 0)) for point in points], np.float64).reshape(-1, 3)
    place = part.get("reference_lla")
    reference = None
    if place is not None:
        reference = (float(place["latitude"]), float(place["longitude"]), float(place["altitude"]))
    return Reconstruction(
        tuple(shots),
        xyz,
        np.clip(colours, 0, 255).astype(np.uint8),
        reference,
        tuple(notes),
    )


def _shot(name: str, shot: Mapping[str, Any], camera: Mapping[str, Any], kind: str) -> Shot:
    width, height = int(camera["width"]), int(camera["height"])
    side = max(width, height)
    first, *rest = (float(camera[key]) for key in FLAT_LENSES[kind])
    fx, fy, cx, cy = (first, *rest) if rest else (first, first, 0.0, 0.0)
    K = np.array([[fx * side, 0, cx * side + (width - 1) / 2], [0, fy * side, cy * side + (height - 1) / 2], [0, 0, 1]])
    R = Rotation.from_rotvec(np.asarray(shot["rotation"], np.float64)).as_matrix()
    pinhole = Pinhole(K, R, np.asarray(shot["translation"], np.float64), width, height)
    lens = [float(camera.get(key, 0.0)) for key in LENS]
    return Shot(name, pinhole, Distortion(*lens) if any(lens) else None)
