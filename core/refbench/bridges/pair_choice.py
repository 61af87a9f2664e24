"""Which two of a scene's views make the best pair: by angle, by what both see of the ground, by the time between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from refbench.geometry.convergence import convergence_angle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.scene import View

BEST_ANGLES = (10.0, 30.0)
"""Between these, degrees, the angle of a pair counts in full: below heights are uncertain, above matching suffers."""
WIDEST_ANGLE = 60.0
SAMPLES = 12
"""Rays a side of each image whose ground tells what others see."""
FORGET_DAYS = 60.0
"""After so many days (plants, water, vehicles, sun) a pair counts 1/e less, down to ``OLD_PAIR``."""
OLD_PAIR = 0.25


@dataclass(frozen=True, slots=True)
class RankedPair:
    """Two views: degrees between their lines of sight, fraction [0, 1] of the ground that both see, days between."""

    first: View
    second: View
    angle: float
    overlap: float
    days: float | None

    @property
    def score(self) -> float:
        """How fit the pair is, [0, 1]: the product of what angle, overlap and time are worth."""
        low, high = BEST_ANGLES
        angle = min(1.0, self.angle / low, max(0.0, (WIDEST_ANGLE - self.angle) / (WIDEST_ANGLE - high)))
        # An unknown date must be no advantage, nor rule a pair out.
        time = 0.5 if self.days is None else max(OLD_PAIR, math.exp(-self.days / FORGET_DAYS))
        return angle * self.overlap * time

    def __str__(self) -> str:
        """Return names, angle, overlap and days as a phrase."""
        days = "" if self.days is None else f", {self.days:.0f} days apart"
        return (
            f"{self.first.name} and {self.second.name}, {self.angle:.0f} degrees, "
            f"{100 * self.overlap:.0f} % seen by both{days}"
        )


def ranked_pairs(views: Sequence[View], ground: NDArray[np.float64]) -> list[RankedPair]:
    """Return all pairs of views, the fittest first; pairs of equal score by name.

    Parameters
    ----------
    views
        Two or more.
    ground
        Points on the surface, float64 [N, 3], scene metres: what the pair is for.
    """
    ordered = sorted(views, key=lambda view: view.name)
    seen = {view.name: sees(view, ground) for view in ordered}
    middle = ground.mean(axis=0)
    pairs = [
        RankedPair(
            first,
            second,
            convergence_angle(first.camera, second.camera, middle),
            float((seen[first.name] & seen[second.name]).mean()),
            _days(first, second),
        )
        for first, second in combinations(ordered, 2)
    ]
    return sorted(pairs, key=lambda pair: -pair.score)


def sees(view: View, ground: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return bool [N]: which points [N, 3] fall into the image, hidden or not."""
    col, row, depth = view.camera.project(ground)
    rows, cols = view.image.shape
    with np.errstate(invalid="ignore"):
        inside = (col >= 0) & (col <= cols - 1) & (row >= 0) & (row <= rows - 1)
        return np.asarray(inside & (depth > 0) if view.camera.is_perspective else inside)


def footprint(camera: Camera, shape: tuple[int, int], height: float, samples: int = 2) -> NDArray[np.float64]:
    """Return where rays through an image of ``shape`` reach a height, float64 [samples, samples, 3]: corners first."""
    cols, rows = np.meshgrid(np.linspace(0, shape[1] - 1, samples), np.linspace(0, shape[0] - 1, samples))
    return camera.unproject_to_height(cols, rows, np.full(cols.shape, height))


def best_pair(views: Sequence[View], height: float) -> RankedPair:
    """Return the fittest pair of far views for ground at ``height`` metres that any of them sees."""
    ground = [footprint(view.camera, view.image.shape, height, SAMPLES).reshape(-1, 3) for view in views]
    return ranked_pairs(views, np.concatenate(ground))[0]


def _days(first: View, second: View) -> float | None:
    if first.acquired is None or second.acquired is None:
        return None
    return abs((first.acquired - second.acquired).total_seconds()) / 86400
