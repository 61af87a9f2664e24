"""What stands low between the houses: walls, hedges, fences, sheds, rubble; and terraces of the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.city.mesh import Kind
from refbench.city.palette import crown_colour, wall_colour
from refbench.city.shapes import add_box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench.city.mesh import MeshBuilder
    from refbench.city.plan import Rect
    from refbench.city.shapes import Place
    from refbench.city.terrain import Terrain
    from refbench.city.town import Town

PIECE_M = 6.0
"""Length of a piece of wall: each stands on its own ground."""


def add_furniture(
    builder: MeshBuilder,
    town: Town,
    blocks: tuple[Rect, ...],
    terrain: Terrain,
    density: float,
    rng: np.random.Generator,
) -> None:
    """Add walls and hedges along and across the blocks, and rubble, sheds and bins inside them.

    ``density`` in [0, 1] is the fraction of the lines that are built, and of the largest number of small things.
    """
    for block in blocks:
        if rng.random() > 0.4 + 0.6 * density:
            continue
        surface, height, width = _barrier(builder, rng)
        for start, end in _lines(block, rng, density):
            _add_line(builder, town, terrain, (start, end), (surface, height, width), rng)
        area = block.size[0] * block.size[1]
        for _ in range(rng.poisson(density * area / 160)):
            u, v = rng.uniform(block.u0, block.u1), rng.uniform(block.v0, block.v1)
            place = town.cover.frame.place(float(u), float(v), float(rng.uniform(0, np.pi)))
            size = float(rng.uniform(0.6, 3.5)), float(rng.uniform(0.6, 2.5))
            _add_piece(builder, town, terrain, place, size, float(rng.uniform(0.4, 2.6)), surface)


def _barrier(builder: MeshBuilder, rng: np.random.Generator) -> tuple[int, float, float]:
    """Return surface, height and thickness of a wall, a fence or a hedge."""
    if rng.random() < 0.45:
        surface = builder.surface(Kind.CROWN, crown_colour(rng), (float(rng.uniform(0, 40)), 0.0))
        return surface, float(rng.uniform(0.8, 3.0)), float(rng.uniform(0.7, 2.0))
    surface = builder.surface(Kind.FITTING, wall_colour(rng, "house"), (float(rng.uniform(0, 40)), 0.0))
    return surface, float(rng.uniform(0.7, 3.2)), float(rng.uniform(0.25, 0.7))


def _lines(block: Rect, rng: np.random.Generator, density: float) -> Iterator[tuple[tuple[float, float], ...]]:
    """Yield the ends of lines in the street frame: the rim of the block, and lots across it."""
    rim = block.inset(float(rng.uniform(0.8, 2.5)))
    corners = [(rim.u0, rim.v0), (rim.u1, rim.v0), (rim.u1, rim.v1), (rim.u0, rim.v1)]
    for index in range(4):
        if rng.random() < 0.3 + 0.6 * density:
            yield corners[index], corners[(index + 1) % 4]
    (du, dv), at = rim.size, float(rng.uniform(6, 20))
    while at < max(du, dv) - 4:
        if rng.random() < density:
            if du >= dv:
                yield (rim.u0 + at, rim.v0), (rim.u0 + at, rim.v1)
            else:
                yield (rim.u0, rim.v0 + at), (rim.u1, rim.v0 + at)
        at += float(rng.uniform(9, 22))


def _add_line(
    builder: MeshBuilder,
    town: Town,
    terrain: Terrain,
    ends: tuple[tuple[float, float], ...],
    form: tuple[int, float, float],
    rng: np.random.Generator,
) -> None:
    (u0, v0), (u1, v1) = ends
    surface, height, width = form
    length = float(np.hypot(u1 - u0, v1 - v0))
    count = max(1, round(length / PIECE_M))
    turn = float(np.arctan2(v1 - v0, u1 - u0))
    for index in range(count):
        if rng.random() < 0.12:  # gates and gaps
            continue
        part = (index + 0.5) / count
        place = town.cover.frame.place(u0 + part * (u1 - u0), v0 + part * (v1 - v0), turn)
        tall = height * float(rng.uniform(0.9, 1.1))
        _add_piece(builder, town, terrain, place, (length / count + 0.1, width), tall, surface)


def _add_piece(
    builder: MeshBuilder,
    town: Town,
    terrain: Terrain,
    place: Place,
    size: tuple[float, float],
    height: float,
    surface: int,
) -> None:
    """Add a box on the ground where nothing is built and no water lies."""
    xy = np.array([place.x, place.y])
    if np.abs(xy).max() > town.cover.half - 2 or not town.cover.is_free(xy, 0.3):
        return
    ground = float(terrain.at(place.x, place.y))
    add_box(builder, place, size, (ground - 0.5, ground + height), surface)


def terraced(heights: np.ndarray, half: float, rng: np.random.Generator) -> np.ndarray:
    """Return terrain heights [n, n] cut into level steps of 1 to 3 m with steep banks, over a part of the map."""
    step, towards = float(rng.uniform(1.0, 3.0)), float(rng.uniform(0, 2 * np.pi))
    count = len(heights)
    x, y = np.meshgrid(*[np.linspace(-half, half, count)] * 2)
    along = x * np.cos(towards) + y * np.sin(towards)
    tilted = heights + along * float(rng.uniform(0.02, 0.12))
    level = np.floor(tilted / step) + np.clip((tilted / step % 1.0 - 0.85) / 0.15, 0, 1)
    # Half of the maps are terraced on one side only.
    inside = 1 / (1 + np.exp(-(along + float(rng.uniform(-0.6, 0.6)) * half) / 1.5)) if rng.random() < 0.5 else 1.0
    return np.asarray(tilted + inside * (level * step - tilted))
