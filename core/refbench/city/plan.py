"""The town plan: the street frame, blocks cut out of it, and the map of what covers the ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.city.shapes import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVER_STEP = 0.25
"""Metres a pixel of the cover map."""


class Cover(IntEnum):
    """What lies on the ground."""

    GRASS = 0
    ASPHALT = 1
    PAVING = 2
    GRAVEL = 3
    SOIL = 4
    MARKING = 5
    WATER = 6
    MEADOW = 7


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in the street frame, metres."""

    u0: float
    v0: float
    u1: float
    v1: float

    @property
    def size(self) -> tuple[float, float]:
        """Extent along u and v."""
        return self.u1 - self.u0, self.v1 - self.v0

    @property
    def centre(self) -> tuple[float, float]:
        """The middle."""
        return (self.u0 + self.u1) / 2, (self.v0 + self.v1) / 2

    def inset(self, margin: float) -> Rect:
        """Return the rectangle shrunk on all sides."""
        return Rect(self.u0 + margin, self.v0 + margin, self.u1 - margin, self.v1 - margin)

    def corners(self) -> NDArray[np.float64]:
        """Return the corners float64 [4, 2], counter-clockwise."""
        return np.array([[self.u0, self.v0], [self.u1, self.v0], [self.u1, self.v1], [self.u0, self.v1]])


@dataclass(frozen=True, slots=True, eq=False)
class StreetFrame:
    """A turned and gently bent frame: streets are straight in (u, v) and curve in local metres.

    ``waves`` float64 [k, 5]: wave vector (2), phase, displacement in u and v.
    """

    angle: float
    waves: NDArray[np.float64]

    def world(self, uv: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return local metres [n, 2] of street coordinates [n, 2]."""
        phase = uv @ self.waves[:, :2].T + self.waves[:, 2]
        bent = uv + np.sin(phase) @ self.waves[:, 3:]
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.column_stack([c * bent[:, 0] - s * bent[:, 1], s * bent[:, 0] + c * bent[:, 1]])

    def place(self, u: float, v: float, turn: float = 0.0) -> Place:
        """Return where a rigid thing stands whose x axis is turned by ``turn`` against u."""
        here, there = self.world(np.array([[u, v], [u + np.cos(turn), v + np.sin(turn)]]))
        return Place(float(here[0]), float(here[1]), float(np.arctan2(there[1] - here[1], there[0] - here[0])))


def make_street_frame(rng: np.random.Generator) -> StreetFrame:
    """Return a frame with a random direction and bends of a few metres over a few hundred."""
    waves = []
    for _ in range(3):
        length, direction = rng.uniform(220.0, 420.0), rng.uniform(0.0, 2 * np.pi)
        k = 2 * np.pi / length
        bend = rng.uniform(-1.0, 1.0, 2) * 0.022 * length
        waves.append([k * np.cos(direction), k * np.sin(direction), rng.uniform(0, 2 * np.pi), *bend])
    return StreetFrame(float(rng.uniform(0.0, np.pi)), np.array(waves))


@dataclass(slots=True, eq=False)
class CoverMap:
    """The cover of the ground, uint8 [n, n] of ``Cover``, rows from south to north over [-half, half]^2.

    ``built`` bool marks the footprints of what stands on it.
    """

    half: float
    frame: StreetFrame
    values: NDArray[np.uint8] = field(init=False)
    built: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        """Start with meadow everywhere."""
        count = int(np.ceil(2 * self.half / COVER_STEP))
        self.values = np.full((count, count), Cover.MEADOW, np.uint8)
        self.built = np.zeros((count, count), np.uint8)

    def _pixels(self, xy: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.round((xy + self.half) / COVER_STEP - 0.5).astype(np.int32)

    def paint(self, uv: NDArray[np.float64], cover: Cover) -> None:
        """Paint a polygon [n, 2] of the street frame; its sides bend with the frame."""
        steps = np.linspace(0.0, 1.0, 12, endpoint=False)[:, None]
        after = np.roll(uv, -1, axis=0)
        dense = np.concatenate([a + steps * (b - a) for a, b in zip(uv, after, strict=True)])
        cv2.fillPoly(self.values, [self._pixels(self.frame.world(dense))], int(cover))

    def paint_rect(self, rect: Rect, cover: Cover) -> None:
        """Paint a rectangle of the street frame."""
        self.paint(rect.corners(), cover)

    def occupy(self, footprint: NDArray[np.float64]) -> None:
        """Mark a footprint [n, 2] in local metres as built."""
        cv2.fillPoly(self.built, [self._pixels(footprint)], 1)

    def _at(self, array: NDArray[np.uint8], xy: NDArray[np.float64]) -> NDArray[np.uint8]:
        pixels = self._pixels(xy).clip(0, len(array) - 1)
        return np.asarray(array[pixels[..., 1], pixels[..., 0]])

    def cover_at(self, xy: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the cover at local metres [..., 2], the edge repeated."""
        return self._at(self.values, xy)

    def is_free(self, xy: NDArray[np.float64], radius: float) -> bool:
        """Return whether nothing is built and no water lies within ``radius`` of the point ``xy`` [2].

        Metres of the street frame.
        """
        turn = np.arange(8) * (np.pi / 4)
        around = np.concatenate([xy[None], xy + radius * np.column_stack([np.cos(turn), np.sin(turn)])])
        return not (self._at(self.built, around).any() or (self.cover_at(around) == Cover.WATER).any())

    def is_dry(self, xy: NDArray[np.float64]) -> bool:
        """Return whether none of the points [n, 2] lies in water. Metres of the street frame."""
        return not (self.cover_at(xy) == Cover.WATER).any()


@dataclass(frozen=True, slots=True)
class TownPlan:
    """Blocks between the streets and the canal, all in the street frame."""

    blocks: tuple[Rect, ...]
    streets: tuple[Rect, ...]
    canal: Rect | None


def make_town_plan(rng: np.random.Generator, reach: float, target: float, with_canal: bool) -> TownPlan:
    """Cut the square [-reach, reach]^2 by streets until no block is much longer than ``target`` metres."""
    blocks: list[Rect] = []
    streets: list[Rect] = []
    canal: Rect | None = None
    todo = [Rect(-reach, -reach, reach, reach)]
    if with_canal:
        v, width = rng.uniform(-0.25, 0.25) * reach, rng.uniform(13.0, 20.0)
        canal = Rect(-reach, v - width, reach, v + width)
        todo = [Rect(-reach, -reach, reach, canal.v0), Rect(-reach, canal.v1, reach, reach)]
    while todo:
        rect = todo.pop()
        u, v = rect.size
        if max(u, v) < 1.35 * target or min(u, v) < 24.0:
            blocks.append(rect)
            continue
        fraction, half = rng.uniform(0.38, 0.62), rng.uniform(3.2, 5.0) + (1.5 if max(u, v) > 3 * target else 0.0)
        if u >= v:
            cut = rect.u0 + fraction * u
            streets.append(Rect(cut - half, rect.v0, cut + half, rect.v1))
            todo += [Rect(rect.u0, rect.v0, cut - half, rect.v1), Rect(cut + half, rect.v0, rect.u1, rect.v1)]
        else:
            cut = rect.v0 + fraction * v
            streets.append(Rect(rect.u0, cut - half, rect.u1, cut + half))
            todo += [Rect(rect.u0, rect.v0, rect.u1, cut - half), Rect(rect.u0, cut + half, rect.u1, rect.v1)]
    return TownPlan(tuple(blocks), tuple(streets), canal)


def paint_streets(cover: CoverMap, plan: TownPlan) -> None:
    """Paint carriageways, dashed centre lines, pavements around the blocks, and the canal with its banks."""
    for street in plan.streets:
        cover.paint_rect(street, Cover.ASPHALT)
    for street in plan.streets:
        u, v = street.size
        if min(u, v) < 8.0:
            continue
        (cu, cv), along_u = street.centre, u > v
        for start in np.arange(4.0, max(u, v) - 4.0, 6.0):
            dash = (
                Rect(street.u0 + start, cv - 0.1, street.u0 + start + 3.0, cv + 0.1)
                if along_u
                else Rect(cu - 0.1, street.v0 + start, cu + 0.1, street.v0 + start + 3.0)
            )
            cover.paint_rect(dash, Cover.MARKING)
    if plan.canal is not None:
        canal = plan.canal
        cover.paint_rect(canal, Cover.ASPHALT)
        cover.paint_rect(Rect(canal.u0, canal.v0 + 5.0, canal.u1, canal.v1 - 5.0), Cover.GRASS)
        cover.paint_rect(Rect(canal.u0, canal.v0 + 7.0, canal.u1, canal.v1 - 7.0), Cover.WATER)
    for block in plan.blocks:
        cover.paint_rect(block, Cover.PAVING)
