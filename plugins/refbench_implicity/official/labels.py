"""Labels and masks of query points, as the official data-set builder gives them.

Label 1: under the surface model and above the terrain (building); 2: under both; 0: air.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

    from refbench_implicity.official.closest_point import ClosestPoint


@dataclass(frozen=True, slots=True)
class Lookup:
    """A raster [rows, cols] that is asked for its value at points; ``outside`` holds there."""

    values: NDArray[Any]
    transform: Affine
    outside: float = 0

    def __call__(self, xy: NDArray[np.float64]) -> NDArray[Any]:
        """Return the value of the pixel that contains each of ``xy`` [N, 2], in the raster's type."""
        inverse = ~self.transform
        x, y = xy[:, 0] - self.transform.c, xy[:, 1] - self.transform.f
        col = np.floor(inverse.a * x + inverse.b * y).astype(np.int64)
        row = np.floor(inverse.d * x + inverse.e * y).astype(np.int64)
        rows, cols = self.values.shape
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        out = np.full(len(xy), self.outside, self.values.dtype)
        out[inside] = self.values[row[inside], col[inside]]
        return out


def dilated(mask: NDArray[Any], iterations: int) -> NDArray[np.bool_]:
    """Return ``mask`` != 0 grown by ``iterations`` steps of the 4-neighbour cross. Bool [rows, cols]."""
    grown = np.asarray(mask) != 0
    return np.asarray(ndimage.binary_dilation(grown, iterations=iterations)) if iterations > 0 else grown


def query_labels(points: NDArray[np.float64], surface: Lookup, terrain: ClosestPoint) -> NDArray[np.int64]:
    """Return the labels {0, 1, 2} [N] of ``points`` [N, 3].

    A point is under the surface where z <= the height of its pixel (0 outside the raster), and under the ground
    where the closest point of the terrain mesh lies strictly higher.
    """
    labels = np.zeros(len(points), np.int64)
    under = np.flatnonzero(points[:, 2] <= surface(points[:, :2]))
    in_ground = terrain(points[under])[:, 2] > points[under, 2]
    labels[under] = np.where(in_ground, 2, 1)
    return labels
