"""The city on another day: cars elsewhere, crowns without leaves, trees not yet grown, a building not yet there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from refbench.city.mesh import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.city.mesh import Mesh
    from refbench.city.variation import Dates


def on_image_dates(mesh: Mesh, dates: Dates, rng: np.random.Generator) -> Mesh:
    """Return what stands when the images are taken: without some trees and buildings, crowns thinned."""
    kind = mesh.kind
    missing = (kind == Kind.CROWN) & (rng.random(len(kind)) < dates.trees)
    missing |= _groups(kind, rng, dates.gone)
    kept = ~missing[mesh.surface]
    if dates.leaf_off:
        kept &= (kind[mesh.surface] != Kind.CROWN) | (rng.random(len(mesh.surface)) >= dates.leaf_off)
    return _part(mesh, kept)


def with_cars_of(mesh: Mesh, dates: Dates, rng: np.random.Generator) -> Mesh:
    """Return the mesh with the cars of one moment: each is away by the fraction that changes, halved."""
    away = (mesh.kind == Kind.CAR) & (rng.random(len(mesh.kind)) < dates.cars / 2)
    return _part(mesh, ~away[mesh.surface])


def _groups(kind: NDArray[np.uint8], rng: np.random.Generator, fraction: float) -> NDArray[np.bool_]:
    """Return the surfaces of buildings drawn by ``fraction``: a wall and what follows it, roof and fittings."""
    starts = kind == Kind.WALL
    number = np.cumsum(starts)
    belongs = (number > 0) & np.isin(kind, (Kind.WALL, Kind.ROOF_TILE, Kind.ROOF_FLAT, Kind.ROOF_METAL, Kind.FITTING))
    # Fittings after a crown or a car are furniture, not part of the last building.
    other = np.isin(kind, (Kind.CROWN, Kind.CAR, Kind.DECK))
    if other.any():
        belongs[int(np.argmax(other)) :] = False
    gone = rng.random(int(number.max(initial=0)) + 1) < fraction
    return np.asarray(belongs & gone[number])


def _part(mesh: Mesh, kept: NDArray[np.bool_]) -> Mesh:
    if kept.all():
        return mesh
    return dataclasses.replace(mesh, triangles=mesh.triangles[kept], surface=mesh.surface[kept])
