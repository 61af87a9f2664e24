"""The triangle mesh of a city and the table of its surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Kind(IntEnum):
    """What a surface is made of; steers its texture and its class in the masks."""

    GROUND = 0
    ROOF_TILE = 1
    ROOF_FLAT = 2
    ROOF_METAL = 3
    WALL = 4
    CROWN = 5
    CAR = 6
    DECK = 7
    FITTING = 8


BUILDING_KINDS = (Kind.ROOF_TILE, Kind.ROOF_FLAT, Kind.ROOF_METAL, Kind.WALL, Kind.FITTING)


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles and what they are made of.

    ``vertices`` float64 [V, 3] local metres, ``triangles`` int64 [T, 3], ``surface`` int64 [T] is the row of the
    surface table: ``kind`` uint8 [S], ``colour`` float32 [S, 4] reflectance, ``phase`` float32 [S, 2] metres.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    surface: NDArray[np.int64]
    kind: NDArray[np.uint8]
    colour: NDArray[np.float32]
    phase: NDArray[np.float32]


@dataclass(slots=True)
class MeshBuilder:
    """Collects parts; the order of the calls decides the order of the triangles."""

    _vertices: list[NDArray[np.float64]] = field(default_factory=list)
    _triangles: list[NDArray[np.int64]] = field(default_factory=list)
    _surface: list[NDArray[np.int64]] = field(default_factory=list)
    _kinds: list[int] = field(default_factory=list)
    _colours: list[Sequence[float]] = field(default_factory=list)
    _phases: list[tuple[float, float]] = field(default_factory=list)
    _count: int = 0

    def surface(self, kind: Kind, colour: Sequence[float], phase: tuple[float, float] = (0.0, 0.0)) -> int:
        """Add a row to the surface table and return its index. ``phase`` shifts the texture, in metres."""
        self._kinds.append(int(kind))
        self._colours.append(colour)
        self._phases.append(phase)
        return len(self._kinds) - 1

    def add(self, vertices: NDArray[np.float64], triangles: NDArray[np.int64], surface: int) -> None:
        """Add triangles int [m, 3] over ``vertices`` [n, 3], all of one surface."""
        self._vertices.append(np.asarray(vertices, np.float64))
        self._triangles.append(np.asarray(triangles, np.int64) + self._count)
        self._surface.append(np.full(len(triangles), surface, np.int64))
        self._count += len(vertices)

    def add_polygon(self, corners: NDArray[np.float64], surface: int) -> None:
        """Add a convex polygon [n, 3] as a fan of triangles. Metres in the city's frame."""
        count = len(corners)
        fan = np.stack([np.zeros(count - 2, np.int64), np.arange(1, count - 1), np.arange(2, count)], axis=1)
        self.add(corners, fan, surface)

    def build(self) -> Mesh:
        """Return the mesh."""
        return Mesh(
            np.concatenate(self._vertices),
            np.concatenate(self._triangles),
            np.concatenate(self._surface),
            np.array(self._kinds, np.uint8),
            np.array(self._colours, np.float32),
            np.array(self._phases, np.float32),
        )
