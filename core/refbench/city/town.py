"""What stands in a town: buildings, trees, cars as planned, before they become triangles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from refbench.city.plan import CoverMap, Rect
    from refbench.city.shapes import Place, RoofShape


@dataclass(frozen=True, slots=True)
class Building:
    """A building as planned: heights are above the ground. ``courtyard`` is the depth of the wings, 0 for none."""

    place: Place
    length: float
    width: float
    eave: float
    pitch: float
    """Slope of the roof in degrees."""
    roof: RoofShape
    style: str
    dormers: int = 0
    courtyard: float = 0.0
    joined: bool = False
    """Part of the building before it: of the same materials."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree: foot in local metres, height and crown radius in metres."""

    x: float
    y: float
    height: float
    radius: float
    conifer: bool = False


@dataclass(frozen=True, slots=True)
class Car:
    """A parked car or van."""

    place: Place
    length: float
    width: float
    height: float


@dataclass(slots=True, eq=False)
class Town:
    """Everything that stands on the ground."""

    cover: CoverMap
    rng: np.random.Generator
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)

    def build(self, building: Building) -> bool:
        """Add a building unless it would stand in water or reach out of the map; return whether it was added."""
        a, b = building.length / 2, building.width / 2
        corners = building.place.world(np.array([[-a, -b], [a, -b], [a, b], [-a, b], [0.0, -b], [0.0, b]]))
        if np.abs(corners).max() > self.cover.half - 1 or not self.cover.is_dry(corners):
            return False
        self.cover.occupy(corners[:4])
        self.buildings.append(building)
        return True

    def plant(self, u: float, v: float, height: float, conifer: bool = False) -> None:
        """Add a tree at street coordinates where there is room for it."""
        xy = self.cover.frame.world(np.array([[u, v]]))[0]
        radius = height * float(self.rng.uniform(0.16, 0.22) if conifer else self.rng.uniform(0.3, 0.45))
        if np.abs(xy).max() < self.cover.half - 3 and self.cover.is_free(xy, 0.55 * radius):
            self.trees.append(Tree(float(xy[0]), float(xy[1]), height, radius, conifer))

    def plant_some(self, rect: Rect, count: int, heights: tuple[float, float], conifers: float = 0.15) -> None:
        """Scatter ``count`` trees over a rectangle."""
        for _ in range(count):
            u, v = self.rng.uniform(rect.u0, rect.u1), self.rng.uniform(rect.v0, rect.v1)
            self.plant(u, v, float(self.rng.uniform(*heights)), bool(self.rng.random() < conifers))

    def park(self, u: float, v: float, turn: float) -> None:
        """Add a car at street coordinates, parallel to ``turn``, where there is room for it."""
        place = self.cover.frame.place(u, v, turn + float(self.rng.normal(0, 0.03)))
        van = self.rng.random() < 0.12
        length, width, height = (5.4, 2.0, 2.4) if van else (float(self.rng.uniform(3.8, 4.8)), 1.8, 1.5)
        xy = np.array([place.x, place.y])
        if np.abs(xy).max() < self.cover.half - 3 and self.cover.is_free(xy, 2.2):
            self.cars.append(Car(place, length, width, height))
