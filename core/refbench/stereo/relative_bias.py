"""Relative RPC bias compensation: shifts of all images, found jointly from tie points of their pairs.

Carried to the ground at one height, a tie point of two images parts by its parallax along the epipolar direction and
by their biases. Across that direction only the biases remain: with G the ground displacement of a pixel,
``a . (x_i - x_j) = a . (G_i b_i - G_j b_j)``. One such equation a pair, its left side the median over the tie points,
is solved for all b by least squares with a weak pull to zero: what the pairs leave open stays as the RPCs say.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from refbench.stereo.tie_points import find_features, matched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.scene import View
    from refbench.stereo.tie_points import Features

    Floats = NDArray[np.float64]

FARTHEST_PX = 25.0
"""Tie points farther across the epipolar direction are wrong: no RPC points so far beside."""
SPREAD_PX = 1.5
"""Around the median, tie points farther away are wrong."""
LEAST_POINTS = 12
PRIOR_PX, OBSERVED_PX = 10.0, 0.1
"""Expected sizes of a bias and of the error of a pair's median."""


@dataclass(frozen=True, slots=True)
class RelativeBias:
    """``shifts``: view -> (right, down) in pixels; ``ties``: number of tie points by pair; ``residual_px`` after it."""

    shifts: dict[str, tuple[float, float]]
    ties: dict[tuple[str, str], int]
    residual_px: float | None


@dataclass(frozen=True, slots=True, eq=False)
class _Equation:
    """``first`` . b_i - ``second`` . b_j = ``value``; [2] each and pixels."""

    pair: tuple[int, int]
    first: Floats
    second: Floats
    value: float
    count: int


def relative_bias(views: Sequence[View], middle: Floats) -> RelativeBias:
    """Return the shifts of the views' images against what their RPCs say, up to what only ground control tells.

    Parameters
    ----------
    views
        Two or more, cameras without perspective.
    middle
        A point [3] that they see, at a height near that of the ground.
    """
    features = [find_features(view, middle) for view in views]
    found = [_equation(views, features, pair, middle) for pair in combinations(range(len(views)), 2)]
    equations = [equation for equation in found if equation is not None]
    if not equations:
        return RelativeBias({view.name: (0.0, 0.0) for view in views}, {}, None)
    rows = np.zeros((len(equations), 2 * len(views)))
    for row, equation in zip(rows, equations, strict=True):
        i, j = equation.pair
        row[2 * i : 2 * i + 2], row[2 * j : 2 * j + 2] = equation.first, -equation.second
    values = np.array([equation.value for equation in equations])
    prior = np.eye(rows.shape[1]) * (OBSERVED_PX / PRIOR_PX)
    shifts = np.linalg.lstsq(np.vstack([rows, prior]), np.append(values, np.zeros(len(prior))), rcond=None)[0]
    rest = float(np.sqrt(np.mean((rows @ shifts - values) ** 2)))
    names = [view.name for view in views]
    return RelativeBias(
        {name: (float(a), float(b)) for name, (a, b) in zip(names, shifts.reshape(-1, 2), strict=True)},
        {(names[e.pair[0]], names[e.pair[1]]): e.count for e in equations},
        rest,
    )


def _equation(
    views: Sequence[View], features: Sequence[Features], pair: tuple[int, int], middle: Floats
) -> _Equation | None:
    """Return what the tie points of a pair say; None where there are too few that agree, or no parallax."""
    i, j = pair
    ties = matched(features[i], features[j])
    if len(ties) < LEAST_POINTS:
        return None
    cameras = views[i].camera, views[j].camera
    slopes = [camera.jacobian(middle[None])[0] for camera in cameras]
    to_ground = [np.linalg.inv(slope[:, :2]) for slope in slopes]
    # What a metre of height looks like on the ground, of one camera against the other.
    parallax = to_ground[0] @ slopes[0][:, 2] - to_ground[1] @ slopes[1][:, 2]
    length = float(np.hypot(*parallax))
    if length < 1e-3:
        return None
    across = np.array([parallax[1], -parallax[0]]) / length
    pixels = features[i].pixel[ties[:, 0]], features[j].pixel[ties[:, 1]]
    heights = np.full(len(ties), middle[2])
    ground = [
        camera.unproject_to_height(pixel[:, 0], pixel[:, 1], heights)[:, :2]
        for camera, pixel in zip(cameras, pixels, strict=True)
    ]
    gsd = float(np.mean([abs(np.linalg.det(matrix)) ** 0.5 for matrix in to_ground]))
    apart = (ground[0] - ground[1]) @ across / gsd
    apart = apart[np.abs(apart) < FARTHEST_PX]
    centre = _mode(apart)
    near = apart[np.abs(apart - centre) < SPREAD_PX]
    if len(near) < LEAST_POINTS:
        return None
    return _Equation(pair, across @ to_ground[0] / gsd, across @ to_ground[1] / gsd, float(np.median(near)), len(near))


def _mode(values: Floats) -> float:
    """Return the value with most others within ``SPREAD_PX``; 0 of none."""
    if not len(values):
        return 0.0
    ordered = np.sort(values)
    around = np.searchsorted(ordered, ordered + SPREAD_PX) - np.searchsorted(ordered, ordered - SPREAD_PX)
    return float(ordered[int(around.argmax())])
