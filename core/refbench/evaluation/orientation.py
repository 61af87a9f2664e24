"""A way to lay a raster that its own relief picks, so that what is drawn by position does not depend on the file's.

The same ground can be written north-up, south-up or transposed; a scene can be turned. Blocks, thinned samples and
labels are laid out after this turn, so that all of them give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from affine import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

T = TypeVar("T", bound="np.generic")


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight symmetries of a raster: rows reversed, columns reversed, then transposed."""

    flip_rows: bool = False
    flip_cols: bool = False
    transposed: bool = False

    @classmethod
    def of(cls, heights: NDArray[Any]) -> Orientation:
        """Return the turn after which heights [rows, cols] (NaN unknown) rise to the right, and less so downwards."""
        known = np.isfinite(heights)
        if not known.any():
            return cls()
        centred = np.where(known, heights - np.mean(heights[known], dtype=np.float64), 0.0)
        rows, cols = (np.arange(size) - (size - 1) / 2 for size in heights.shape)
        # First moments of the relief about the middle; a mirror image changes the sign of one, a transpose swaps them.
        down, right = float(centred.sum(1) @ rows), float(centred.sum(0) @ cols)
        return cls(down < 0, right < 0, abs(down) > abs(right))

    @classmethod
    def northward(cls, grid: Grid) -> Orientation:
        """Return the turn after which rows of a grid run as far south, and columns as far east, as its axes allow."""
        t = grid.transform
        if abs(t.d) > abs(t.a):  # columns run along north and south
            return cls(flip_rows=t.b < 0, flip_cols=t.d > 0, transposed=True)
        return cls(flip_rows=t.e > 0, flip_cols=t.a < 0)

    def grid(self, grid: Grid) -> Grid:
        """Return the grid of a turned raster: the same ground."""
        rows, cols = grid.shape
        t = grid.transform
        if self.flip_rows:
            t = t @ Affine(1, 0, 0, 0, -1, rows)
        if self.flip_cols:
            t = t @ Affine(-1, 0, cols, 0, 1, 0)
        if self.transposed:
            t = t @ Affine(0, 1, 0, 1, 0, 0)
        height, width = self.swapped((rows, cols))
        return replace(grid, width=width, height=height, transform=t)

    def apply(self, values: NDArray[T]) -> NDArray[T]:
        """Return a view of [rows, cols] that is turned. Any unit."""
        turned = values[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]
        return turned.T if self.transposed else turned

    def undo(self, turned: NDArray[T]) -> NDArray[T]:
        """Return a view of a turned array as it lay before. [rows, cols], in its own unit."""
        values = turned.T if self.transposed else turned
        return values[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]

    def positions(self, where: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return rows and columns [N] of the pixels where a mask [rows, cols] holds, in the order after the turn."""
        turned = self.apply(where)
        places: tuple[Any, Any] = np.divmod(np.flatnonzero(turned), turned.shape[1])
        rows, cols = self.swapped(places)
        height, width = where.shape
        return (height - 1 - rows if self.flip_rows else rows), (width - 1 - cols if self.flip_cols else cols)

    def swapped(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return (of rows, of columns) as it is after the turn."""
        return (pair[1], pair[0]) if self.transposed else pair
