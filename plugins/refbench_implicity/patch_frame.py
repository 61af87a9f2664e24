"""The patch frame: world metres to (0, 1) x (0, 1) x z units, with quarter turns and flips in between.

``to_patch = Shift(1/2, 1/2, 0) . Flip . Turn . inverse(Scale and centre)``, all float64; the inverse maps back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLIPS = (-1, 0, 1)
"""None, x := -x, y := -y."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """``turns`` quarter turns clockwise about the patch centre, then ``flip`` (-1 none, 0 x, 1 y)."""

    turns: int = 0
    flip: int = -1

    @classmethod
    def draw(cls, rng: np.random.Generator, *, rotate: bool, flip: bool) -> Augmentation:
        """Draw uniformly, the rotation first."""
        turns = int(rng.integers(4)) if rotate else 0
        return cls(turns, int(rng.choice(FLIPS)) if flip else -1)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The map [2, 2] of centred patch coordinates; exact, entries are -1, 0, 1. No unit."""
        turn = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), self.turns % 4)
        signs = {-1: (1.0, 1.0), 0: (-1.0, 1.0), 1: (1.0, -1.0)}
        found: NDArray[np.float64] = np.diag(signs[self.flip]) @ turn
        return found

    def image(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return [images, rows, cols], north-up, turned and flipped like the points.

        Levels or normalised values stay as they are.
        """
        turned = np.rot90(pixels, -self.turns, axes=(1, 2))
        if self.flip >= 0:
            turned = np.flip(turned, axis=2 if self.flip == 0 else 1)
        return np.ascontiguousarray(turned)


def z_origin(heights: NDArray[np.float64], rule: str) -> float:
    """Return the patch's z origin in metres: ``median`` (lower of the middle two), ``mean`` or ``20quantile``.

    NaN without any height.
    ``heights`` has any shape, NaN where unknown.
    """
    if not len(heights):
        return float("nan")
    if rule == "median":
        middle = (len(heights) - 1) // 2
        return float(np.partition(heights, middle)[middle])
    if rule == "mean":
        return float(np.mean(heights))
    if rule == "20quantile":
        return float(np.quantile(heights, 0.2))
    raise InputError(f"normalize.z_shift must be median, mean or 20quantile, got {rule!r}.")


@dataclass(frozen=True, slots=True)
class PatchFrame:
    """Where a patch lies: south-west ``anchor`` [2] and ``size`` [2] in metres, z origin and metres per z unit."""

    anchor: NDArray[np.float64]
    size: NDArray[np.float64]
    z_shift: float
    z_std: float
    augmentation: Augmentation = Augmentation()

    def normalise(self, xyz: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return world points float64 [N, 3] in the patch frame, float32; computed in float64."""
        centre = self.anchor + self.size / 2
        out = np.empty(xyz.shape, np.float32)
        out[:, :2] = ((xyz[:, :2] - centre) / self.size) @ self.augmentation.matrix.T + 0.5
        out[:, 2] = (xyz[:, 2] - self.z_shift) / self.z_std
        return out

    @property
    def to_world(self) -> NDArray[np.float64]:
        """The map [4, 4] from the patch frame to world coordinates."""
        back = np.diag(self.size) @ self.augmentation.matrix.T  # orthogonal: the transpose is the inverse
        world = np.eye(4)
        world[:2, :2] = back
        world[:2, 3] = self.anchor + self.size / 2 - back @ np.array([0.5, 0.5])
        world[2, 2:] = self.z_std, self.z_shift
        return world


def strictly_inside(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where 0 < x < 1 and 0 < y < 1 of ``points`` [N, 3], compared in float32."""
    xy = points[:, :2]
    return np.asarray(((xy > 0) & (xy < 1)).all(axis=1), np.bool_)
