"""Solids of a city: boxes under a roof, tree crowns, plain boxes. They may overlap; rays see the outside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.city.mesh import MeshBuilder

RoofShape = Literal["flat", "gable", "hip", "pyramid", "shed"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a solid stands: local metres, and the angle of its x axis against east in radians."""

    x: float
    y: float
    angle: float = 0.0

    def world(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``corners`` [n, 2 or 3] of the solid's own frame in local metres; z is kept."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        out = np.array(corners, np.float64)
        out[:, 0] = self.x + c * corners[:, 0] - s * corners[:, 1]
        out[:, 1] = self.y + s * corners[:, 0] + c * corners[:, 1]
        return out

    def moved(self, dx: float, dy: float, turn: float = 0.0) -> Place:
        """Return the place that lies (dx, dy) away in this place's own frame."""
        x, y = self.world(np.array([[dx, dy]]))[0]
        return Place(float(x), float(y), self.angle + turn)


@dataclass(frozen=True, slots=True)
class RoofedBox:
    """A rectangular building part: ``length`` along its x axis, the ridge too; all in metres, z absolute."""

    place: Place
    length: float
    width: float
    base: float
    eave: float
    rise: float
    roof: RoofShape
    overhang: float = 0.0
    parapet: float = 0.0

    @property
    def footprint(self) -> NDArray[np.float64]:
        """The four corners float64 [4, 2] in local metres, counter-clockwise."""
        return self.place.world(_rectangle(self.length / 2, self.width / 2))

    @property
    def top(self) -> float:
        """Height of the highest point."""
        return self.eave + (self.parapet if self.roof == "flat" else self.rise)


def _rectangle(a: float, b: float) -> NDArray[np.float64]:
    return np.array([[-a, -b], [a, -b], [a, b], [-a, b]], np.float64)


def _ring(corners: NDArray[np.float64], z: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([corners, np.broadcast_to(z, len(corners))])


def add_band(
    builder: MeshBuilder, place: Place, low: NDArray[np.float64], high: NDArray[np.float64], surface: int
) -> None:
    """Add the quads between two closed rings [n, 3] of as many corners, both in the frame of ``place``."""
    count = len(low)
    here, after = np.arange(count), (np.arange(count) + 1) % count
    triangles = np.concatenate(
        [np.stack([here, after, after + count], axis=1), np.stack([here, after + count, here + count], axis=1)]
    )
    builder.add(place.world(np.concatenate([low, high])), triangles, surface)


def add_box(
    builder: MeshBuilder, place: Place, size: tuple[float, float], z: tuple[float, float], surface: int
) -> None:
    """Add a box without a floor: ``size`` (length, width), ``z`` (bottom, top)."""
    corners = _rectangle(size[0] / 2, size[1] / 2)
    add_band(builder, place, _ring(corners, z[0]), _ring(corners, z[1]), surface)
    builder.add_polygon(place.world(_ring(corners, z[1])), surface)


def add_roofed_box(builder: MeshBuilder, box: RoofedBox, wall: int, roof: int) -> None:
    """Add the walls and the roof of ``box``; ``wall`` and ``roof`` are rows of the surface table."""
    a, b = box.length / 2, box.width / 2
    if box.roof == "flat":
        _add_flat(builder, box, wall, roof)
        return
    wall_ring = _rectangle(a, b)
    tops = box.eave + (np.array([0.0, 0.0, box.rise, box.rise]) if box.roof == "shed" else np.zeros(4))
    add_band(builder, box.place, _ring(wall_ring, box.base), _ring(wall_ring, tops), wall)
    outer_a, outer_b = a + box.overhang, b + box.overhang
    outline = _rectangle(outer_a, outer_b)
    if box.roof == "shed":
        slope = box.rise / box.width
        roof_corners = _ring(outline, box.eave + slope * (outline[:, 1] + b))
        builder.add_polygon(box.place.world(roof_corners), roof)
        return
    _add_ridged(builder, box, outline, roof)
    if box.roof == "gable":
        for side in (-a, a):
            gable = np.array([[side, -b, box.eave], [side, b, box.eave], [side, 0.0, box.eave + box.rise]])
            builder.add_polygon(box.place.world(gable), wall)


def _add_flat(builder: MeshBuilder, box: RoofedBox, wall: int, roof: int) -> None:
    a, b = box.length / 2, box.width / 2
    outer, rim = _rectangle(a, b), box.eave + box.parapet
    add_band(builder, box.place, _ring(outer, box.base), _ring(outer, rim), wall)
    if box.parapet > 0:
        inner = _rectangle(a - 0.3, b - 0.3)
        add_band(builder, box.place, _ring(outer, rim), _ring(inner, rim), wall)
        add_band(builder, box.place, _ring(inner, rim), _ring(inner, box.eave), wall)
    builder.add_polygon(box.place.world(_ring(outer, box.eave)), roof)


def _add_ridged(builder: MeshBuilder, box: RoofedBox, outline: NDArray[np.float64], roof: int) -> None:
    """Add a gable, hip or pyramid roof: every plane falls by the same slope, so the eaves stay level."""
    b = box.width / 2
    outer_a, outer_b = float(outline[2, 0]), float(outline[2, 1])
    low = box.eave - box.rise / b * box.overhang
    half_ridge = {"gable": outer_a, "hip": max(outer_a - outer_b, 0.0), "pyramid": 0.0}[box.roof]
    ridge = np.array([[-half_ridge, 0.0, box.eave + box.rise], [half_ridge, 0.0, box.eave + box.rise]])
    sw, se, ne, nw = _ring(outline, low)
    planes = [[sw, se, ridge[1], ridge[0]], [ne, nw, ridge[0], ridge[1]]]
    if box.roof != "gable":
        planes += [[se, ne, ridge[1]], [nw, sw, ridge[0]]]
    for plane in planes:
        builder.add_polygon(box.place.world(np.array(plane)), roof)


def add_ring_building(
    builder: MeshBuilder,
    place: Place,
    outer: tuple[float, float],
    depth: float,
    z: tuple[float, float, float],
    surfaces: tuple[int, int],
) -> None:
    """Add a building around a courtyard with mitred gable roofs.

    ``outer`` (length, width), ``depth`` of the wings, ``z`` (base, eave, ridge), ``surfaces`` (wall, roof).
    """
    a, b = outer[0] / 2, outer[1] / 2
    rings = [_rectangle(a - inset, b - inset) for inset in (0.0, depth / 2, depth)]
    base, eave, ridge = z
    wall, roof = surfaces
    add_band(builder, place, _ring(rings[0], base), _ring(rings[0], eave), wall)
    add_band(builder, place, _ring(rings[0], eave), _ring(rings[1], ridge), roof)
    add_band(builder, place, _ring(rings[1], ridge), _ring(rings[2], eave), roof)
    add_band(builder, place, _ring(rings[2], eave), _ring(rings[2], base), wall)


@cache
def _sphere() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return a unit sphere of 8 x 6 facets: rings between two poles."""
    polar = np.linspace(0.0, np.pi, 7)[1:-1]
    turn = np.arange(8) * (np.pi / 4)
    rings = [[np.sin(p) * np.cos(t), np.sin(p) * np.sin(t), np.cos(p)] for p in polar for t in turn]
    vertices = np.array([[0.0, 0.0, 1.0], *rings, [0.0, 0.0, -1.0]])
    triangles: list[list[int]] = []
    for i in range(8):
        j = (i + 1) % 8
        triangles.append([0, 1 + i, 1 + j])
        for ring in range(4):
            top, low = 1 + 8 * ring, 1 + 8 * (ring + 1)
            triangles += [[top + i, low + i, low + j], [top + i, low + j, top + j]]
        triangles.append([33 + i, 41, 33 + j])
    return vertices, np.array(triangles, np.int64)


def add_crown(
    builder: MeshBuilder,
    centre: tuple[float, float, float],
    radii: tuple[float, float],
    rng: np.random.Generator,
    surface: int,
) -> None:
    """Add a broad-leaved crown: one body with lobes around it. ``centre`` its middle, ``radii`` (across, up)."""
    vertices, triangles = _sphere()
    across, up = radii
    lobes = int(rng.integers(3, 7))
    turns = rng.uniform(0.0, 2 * np.pi, lobes)
    offsets = [np.zeros(3)] + [
        np.array([0.52 * across * np.cos(t), 0.52 * across * np.sin(t), up * rng.uniform(-0.35, 0.5)]) for t in turns
    ]
    sizes = [0.78, *rng.uniform(0.38, 0.62, lobes)]
    for offset, size in zip(offsets, sizes, strict=True):
        rough = size * rng.uniform(0.82, 1.18, (len(vertices), 1))
        builder.add(vertices * rough * [across, across, up] + offset + centre, triangles, surface)


def add_conifer(
    builder: MeshBuilder, foot: tuple[float, float, float], height: float, radius: float, surface: int
) -> None:
    """Add a conifer: three stacked cones of eight sides; ``foot`` is the ground point."""
    turn = np.arange(8) * (np.pi / 4)
    for low, high, wide in ((0.12, 0.55, 1.0), (0.35, 0.8, 0.75), (0.6, 1.0, 0.48)):
        ring = np.column_stack([radius * wide * np.cos(turn), radius * wide * np.sin(turn), np.full(8, low * height)])
        vertices = np.concatenate([ring, [[0.0, 0.0, high * height]]]) + foot
        here = np.arange(8)
        builder.add(vertices, np.stack([here, (here + 1) % 8, np.full(8, 8)], axis=1), surface)
