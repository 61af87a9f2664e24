"""Reflectances (red, green, blue, near infrared) of materials, varied a little from thing to thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.city.plan import Cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Colour = tuple[float, float, float, float]

COVERS: dict[Cover, Colour] = {
    Cover.GRASS: (0.075, 0.105, 0.05, 0.40),
    Cover.ASPHALT: (0.105, 0.105, 0.105, 0.125),
    Cover.PAVING: (0.24, 0.23, 0.21, 0.27),
    Cover.GRAVEL: (0.29, 0.265, 0.22, 0.34),
    Cover.SOIL: (0.19, 0.145, 0.10, 0.27),
    Cover.MARKING: (0.55, 0.55, 0.53, 0.55),
    Cover.WATER: (0.030, 0.045, 0.045, 0.016),
    Cover.MEADOW: (0.10, 0.12, 0.06, 0.36),
}
_TILES = ((0.30, 0.14, 0.09, 0.34), (0.24, 0.12, 0.085, 0.29), (0.16, 0.10, 0.08, 0.22), (0.10, 0.105, 0.115, 0.14))
_FLATS = ((0.14, 0.14, 0.14, 0.16), (0.27, 0.26, 0.24, 0.30), (0.40, 0.40, 0.39, 0.42), (0.11, 0.14, 0.08, 0.28))
_METALS = ((0.38, 0.39, 0.40, 0.40), (0.22, 0.25, 0.28, 0.28), (0.16, 0.24, 0.21, 0.30), (0.30, 0.15, 0.12, 0.32))
_WALLS = ((0.42, 0.38, 0.30, 0.46), (0.48, 0.46, 0.43, 0.50), (0.30, 0.18, 0.13, 0.34), (0.35, 0.34, 0.33, 0.37))
_CARS = ((0.45, 0.45, 0.45, 0.45), (0.06, 0.06, 0.07, 0.07), (0.25, 0.26, 0.28, 0.27), (0.30, 0.06, 0.05, 0.32))


def _pick(rng: np.random.Generator, choices: tuple[Colour, ...], weights: tuple[float, ...], spread: float) -> Colour:
    base = np.array(choices[int(rng.choice(len(choices), p=weights))])
    red, green, blue, infrared = base * rng.uniform(1 - spread, 1 + spread) * rng.uniform(0.94, 1.06, 4)
    return float(red), float(green), float(blue), float(infrared)


def tile_roof_colour(rng: np.random.Generator) -> Colour:
    """Return the colour of a tiled roof: red, brown or slate."""
    return _pick(rng, _TILES, (0.4, 0.25, 0.15, 0.2), 0.2)


def flat_roof_colour(rng: np.random.Generator) -> Colour:
    """Return the colour of a flat roof: bitumen, gravel, membrane or planted."""
    return _pick(rng, _FLATS, (0.3, 0.4, 0.2, 0.1), 0.25)


def metal_roof_colour(rng: np.random.Generator) -> Colour:
    """Return the colour of a sheet-metal roof."""
    return _pick(rng, _METALS, (0.5, 0.25, 0.1, 0.15), 0.2)


def wall_colour(rng: np.random.Generator, style: str) -> Colour:
    """Return the colour of walls; churches are of stone."""
    weights = (0.2, 0.0, 0.1, 0.7) if style == "church" else (0.35, 0.35, 0.15, 0.15)
    return _pick(rng, _WALLS, weights, 0.15)


def car_colour(rng: np.random.Generator) -> Colour:
    """Return the colour of a car."""
    return _pick(rng, _CARS, (0.4, 0.25, 0.25, 0.1), 0.2)


def crown_colour(rng: np.random.Generator) -> Colour:
    """Return the colour of a broad-leaved crown."""
    return _pick(rng, ((0.06, 0.09, 0.035, 0.42), (0.045, 0.075, 0.03, 0.36)), (0.5, 0.5), 0.25)


def conifer_colour(rng: np.random.Generator) -> Colour:
    """Return the colour of a conifer."""
    return _pick(rng, ((0.03, 0.05, 0.028, 0.24),), (1.0,), 0.2)


def cover_table() -> NDArray[np.float32]:
    """Return the reflectances of all covers, float32 [covers, 4]."""
    return np.array([COVERS[cover] for cover in Cover], np.float32)
