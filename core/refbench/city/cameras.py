"""Virtual cameras: two satellites on one pass, a ring of aerial cameras; all pinholes in scene coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.geometry.cameras import Pinhole

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORBIT_M = 600_000.0
TURNED = 1.15
"""How much larger an image is than what it shows, so that turned and slanted ones cover it."""


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A camera and the size of its image in pixels. ``eye`` float64 [3] in scene coordinates."""

    camera: Pinhole
    eye: NDArray[np.float64]
    shape: tuple[int, int]
    rays_from: NDArray[np.float64]
    """float64 [3, 3]: maps (col, row, 1) to a viewing direction whose depth along the axis is 1."""


def _station(
    eye: NDArray[np.float64], target: NDArray[np.float64], up: NDArray[np.float64], focal: float, shape: tuple[int, int]
) -> Station:
    """Return a camera at ``eye`` that looks at ``target`` with ``up`` towards the top of the image."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    rows, cols = shape
    intrinsics = np.array([[focal, 0.0, (cols - 1) / 2], [0.0, focal, (rows - 1) / 2], [0.0, 0.0, 1.0]])
    camera = Pinhole(intrinsics, rotation, -rotation @ eye, cols, rows)
    return Station(camera, eye, shape, rotation.T @ np.linalg.inv(intrinsics))


def satellite_stations(
    rng: np.random.Generator, target: NDArray[np.float64], extent: float, gsd: float
) -> tuple[Station, Station]:
    """Return two satellites whose base-to-height ratio is about 0.35.

    Parameters
    ----------
    rng
        The generator of the orbit.
    target
        What both look at, float64 [3] scene coordinates.
    extent
        Side of the square on the ground that the images cover, metres.
    gsd
        Pixel on the ground, metres.
    """
    heading, ratio = float(rng.uniform(0.0, 2 * np.pi)), float(rng.uniform(0.32, 0.38))
    track = np.array([np.sin(heading), np.cos(heading)])
    side = float(rng.uniform(-0.08, 0.08)) * np.array([track[1], -track[0]])
    fraction = float(rng.uniform(0.4, 0.6))
    count = int(np.ceil(extent / gsd))
    stations = []
    for lean in (-fraction * ratio, (1 - fraction) * ratio):
        offset = ORBIT_M * np.append(lean * track + side, 1.0)
        distance = float(np.linalg.norm(offset))
        turn = float(rng.normal(0.0, 0.05))
        up = np.array([np.sin(turn), np.cos(turn), 0.0])
        stations.append(_station(target + offset, target, up, distance / gsd, (count, count)))
    return stations[0], stations[1]


def varied_stations(
    rng: np.random.Generator,
    target: NDArray[np.float64],
    extent: float,
    gsd: float,
    lean: tuple[float, float],
    base: tuple[float, float],
    count: int = 2,
) -> tuple[Station, ...]:
    """Return ``count`` satellites that look at ``target`` from around ``lean``, the first two ``base`` apart.

    Parameters
    ----------
    rng
        Generator of the images' rotations, and of where further satellites stand.
    target, extent, gsd
        As for ``satellite_stations``.
    lean
        Mean direction (east, north), tangents of the angles from the nadir.
    base
        Base-to-height ratio and its azimuth in radians.
    count
        Further satellites stand at other bases of the same size.
    """
    ratio, azimuth = base
    azimuths = [azimuth, azimuth + np.pi, *rng.uniform(0.0, 2 * np.pi, max(count - 2, 0))]
    side = int(np.ceil(TURNED * extent / gsd))
    stations = []
    for towards in azimuths[:count]:
        tangent = np.array(lean) + ratio / 2 * np.array([np.sin(towards), np.cos(towards)])
        offset = ORBIT_M * np.append(tangent, 1.0)
        turn = float(rng.normal(0.0, 0.08))
        up = np.array([np.sin(turn), np.cos(turn), 0.0])
        focal = float(np.linalg.norm(offset)) / gsd
        stations.append(_station(target + offset, target, up, focal, (side, side)))
    return tuple(stations)


def aerial_stations(
    rng: np.random.Generator, target: NDArray[np.float64], extent: float, count: int, shape: tuple[int, int]
) -> tuple[Station, ...]:
    """Return a ring of oblique cameras around ``target`` that see a square of about ``extent`` metres.

    Every other one stands steeper, so that courtyards are seen too.
    ``target`` is [3], metres in the city's frame; ``shape`` (rows, cols).
    """
    first = float(rng.uniform(0.0, 2 * np.pi))
    stations = []
    for index in range(count):
        azimuth = first + 2 * np.pi * index / count + float(rng.normal(0.0, 0.05))
        tilt = np.radians((38.0, 22.0)[index % 2] + float(rng.normal(0.0, 2.0)))
        distance = 1.9 * extent * float(rng.uniform(0.95, 1.05))
        offset = distance * np.array([np.sin(tilt) * np.sin(azimuth), np.sin(tilt) * np.cos(azimuth), np.cos(tilt)])
        aim = target + np.append(rng.normal(0.0, 0.03 * extent, 2), 0.0)
        focal = shape[1] * 1.9 / 1.05
        stations.append(_station(aim + offset, aim, np.array([0.0, 0.0, 1.0]), focal, shape))
    return tuple(stations)
