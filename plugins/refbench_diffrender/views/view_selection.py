"""Which other views a view is compared with: those that see much of its surface under a good angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench_diffrender.views.views import SceneView

    Floats = NDArray[np.float64]

SIDE = 32
"""How many pixels per side stand for a view's surface."""
SPREAD = 0.7
"""Spread of the logarithm of good angles: half and twice the best one still score 0.6."""

LEAST_SCORE = 1e-4
"""What scores less was taken from the same place: its angles are rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """Another view: ``overlap`` is the fraction of the own surface that it sees, ``angle`` (degrees) the median under
    which both see it, ``score`` what it is ranked by.
    """

    view: SceneView
    overlap: float
    angle: float
    score: float


def neighbours(
    own: SceneView, views: Sequence[SceneView], min_overlap: float, best_angle_deg: float
) -> list[Neighbour]:
    """Return the other views that overlap enough, best first; equal ones by name.

    Small angles tell little of depths, large ones show another side of things. The score is the mean over the own
    surface of what its points' triangulation angles are worth, 0 for those that the other view does not see.
    """
    surface = _sampled(own)
    found = [_neighbour(own, view, surface, best_angle_deg) for view in views if view.name != own.name]
    kept = [one for one in found if one.overlap >= min_overlap and one.score >= LEAST_SCORE]
    return sorted(kept, key=lambda one: (-one.score, one.view.name))


def chosen_neighbours(
    own: SceneView, views: Sequence[SceneView], number: int, min_overlap: float, best_angle_deg: float
) -> list[SceneView]:
    """Return the best ``number`` of the other views (0: all that overlap enough).

    Raises
    ------
    UnsupportedError
        None overlaps enough.
    """
    found = [one.view for one in neighbours(own, views, min_overlap, best_angle_deg)]
    if not found:
        raise UnsupportedError(
            f"View {own.name} has no neighbours: no other view sees {min_overlap:.0%} of its surface from another "
            "place; give images that overlap or lower min_overlap."
        )
    return found if number == 0 else found[:number]


def angle_weight(angle: Floats, best_angle_deg: float) -> Floats:
    """Return in [0, 1] what triangulation angles (degrees) are worth: 1 for the best one, 0 for none at all."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(-0.5 * (np.log(angle / best_angle_deg) / SPREAD) ** 2))


def _sampled(own: SceneView) -> Floats:
    """Return points [N, 3] of a view's known initial surface, in scene coordinates."""
    rows, cols = own.depth.shape
    down = np.unique(np.linspace(0, rows - 1, SIDE).round().astype(int))
    across = np.unique(np.linspace(0, cols - 1, SIDE).round().astype(int))
    row, col = (place.ravel() for place in np.meshgrid(down, across, indexing="ij"))
    known = own.known[row, col]
    if not known.any():
        known = np.ones(len(row), bool)
    row, col = row[known], col[known]
    return own.camera.unproject(col.astype(float), row.astype(float), own.depth[row, col].astype(float))


def _neighbour(own: SceneView, other: SceneView, surface: Floats, best_angle_deg: float) -> Neighbour:
    col, row, depth = other.camera.project(surface)
    rows, cols = other.image.shape[:2]
    with np.errstate(invalid="ignore"):
        seen = (depth > 0) & (col >= -0.5) & (row >= -0.5) & (col < cols - 0.5) & (row < rows - 0.5)
    if not seen.any():
        return Neighbour(other, 0.0, 0.0, 0.0)
    rays = [view.camera.centre - surface[seen] for view in (own, other)]
    cosine = np.einsum("ij,ij->i", *rays) / np.prod([np.linalg.norm(ray, axis=1) for ray in rays], axis=0)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return Neighbour(
        other,
        float(seen.mean()),
        float(np.median(angle)),
        float(angle_weight(angle, best_angle_deg).sum() / len(surface)),
    )
