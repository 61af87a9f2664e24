"""Which views of the ground are carried into which: those that see the same of it under a good angle.

Letters: N sample points of the surface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench_diffrender.views.view_selection import LEAST_SCORE, angle_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench_diffrender.views.ground_view import GroundView

SIDE = 24
"""Sample points per side of the surface."""


def sampled(vertices: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return sample points [N, 3] of a height field's vertices [rows * cols, 3]."""
    rows, cols = (np.unique(np.linspace(0, side - 1, SIDE).round().astype(int)) for side in shape)
    return np.asarray(vertices.reshape(*shape, 3)[np.ix_(rows, cols)].reshape(-1, 3))


def sources_of(
    views: Sequence[GroundView], points: NDArray[np.float64], number: int, min_overlap: float, best_angle_deg: float
) -> list[list[int]]:
    """Return, for every view, the numbers of the best others to be carried into it, best first, at most ``number``.

    The score is the mean over the points of what their triangulation angle is worth, 0 where not both see them; views
    that share less than ``min_overlap`` of what either sees are no pair.
    ``points`` is [n, 3], metres in the scene's frame.
    """
    seen = [view.sees(points) for view in views]
    rays = [view.direction(points) for view in views]
    found = []
    for target in range(len(views)):
        scores = []
        for source in range(len(views)):
            both = seen[target] & seen[source]
            least = max(1, min(int(seen[target].sum()), int(seen[source].sum())))
            if source == target or both.sum() < min_overlap * least:
                continue
            cosine = np.einsum("ij,ij->i", rays[target][both], rays[source][both])
            angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            score = float(angle_weight(angle, best_angle_deg).sum() / len(points))
            if score >= LEAST_SCORE:
                scores.append((-score, source))
        found.append([source for _, source in sorted(scores)[:number]])
    return found
