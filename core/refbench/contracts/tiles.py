"""Tiles: where they lie (the method's choice) and what is cut for them (the engine's work)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid


@dataclass(frozen=True, slots=True, eq=False)
class TilePlan:
    """Where a method's tiles lie on a grid, and how they blend.

    ``rows`` and ``cols`` int64 [n] are the first row and column of each tile (they may lie outside the grid: the
    engine pads with NoData and crops). All tiles are ``height`` x ``width`` px. A pixel's weight in its tile is
    ``row_weights[i] * col_weights[j]``, float64; the result is the weighted mean over tiles, NaN heights left out.
    ``anchors`` float64 [n, 2] are the tiles' south-west corners in CRS metres where these are not the corners of
    the pixels (ImpliCity anchors in metres); None takes the pixels' own.
    """

    height: int
    width: int
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    row_weights: NDArray[np.float64]
    col_weights: NDArray[np.float64]
    anchors: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check shapes and weights."""
        count = check_shape("Tile rows", self.rows, "n")["n"]
        if self.cols.shape != (count,) or count == 0:
            raise InputError(f"A tile plan needs as many rows as columns and at least one, got {count}.")
        for name, weights, size in (("row", self.row_weights, self.height), ("col", self.col_weights, self.width)):
            if weights.shape != (size,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
                raise InputError(f"The {name} weights of a tile plan must be {size} finite values >= 0, not all 0.")
        if self.anchors is not None:
            check_shape("Tile anchors", self.anchors, f"{count} 2")
        for name in ("rows", "cols", "row_weights", "col_weights", "anchors"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, frozen(array))

    def __len__(self) -> int:
        """Return the number of tiles."""
        return int(self.rows.shape[0])

    def window(self, index: int) -> Window:
        """Return the window of one tile; it may reach past the grid."""
        return Window(int(self.cols[index]), int(self.rows[index]), self.width, self.height)

    @classmethod
    def whole(cls, grid: Grid) -> TilePlan:
        """Return the plan with one tile over the whole grid."""
        zero = np.zeros(1, np.int64)
        return cls(grid.height, grid.width, zero, zero, np.ones(grid.height), np.ones(grid.width))

    @classmethod
    def regular(cls, grid: Grid, size: int = 512, halo: int = 32) -> TilePlan:
        """Return overlapping square tiles whose outer ``halo`` px have weight 0 and the next ``halo`` px a linear ramp.

        So a method that looks no further than ``halo`` px gives the same heights as on the whole raster. Weights sum
        to 1. The first tile starts ``halo`` px before the grid.
        """
        if not 0 <= 4 * halo < size:
            raise InputError(f"A halo of {halo} px does not fit tiles of {size} px: at most a quarter, less one.")
        stride = size - 3 * halo
        weights = np.ones(size)
        if halo:
            rise = (np.arange(halo) + 0.5) / halo
            weights[:halo], weights[-halo:] = 0.0, 0.0
            weights[halo : 2 * halo], weights[-2 * halo : -halo] = rise, rise[::-1]
        reach = size - 2 * halo
        rows, cols = (
            stride * np.arange(1 + max(0, -(-(length - reach) // stride)), dtype=np.int64) - halo
            for length in (grid.height, grid.width)
        )
        grid_rows, grid_cols = np.meshgrid(rows, cols, indexing="ij")
        return cls(size, size, grid_rows.ravel(), grid_cols.ravel(), weights, weights)


@dataclass(frozen=True, slots=True, eq=False)
class TileBatch:
    """What the engine cut for N tiles. A field is None where the method's record does not ask for it.

    Heights (``dsm``, z of ``points``) are metres above ``height_offset`` [N], x and y of ``points`` are metres east
    and north of the tile's ``anchors`` [N, 2] (south-west corner, CRS metres).
    """

    windows: tuple[Window, ...]
    grid: Grid
    """The grid of the whole raster that ``windows`` refer to."""
    height_offset: NDArray[np.float64]
    anchors: NDArray[np.float64]
    dsm: NDArray[np.float32] | None = None
    """[N, rows, cols], NaN where unknown."""
    orthos: NDArray[np.float32] | None = None
    """[N, images, rows, cols] on the grid of the DSM, one band per image by the record's rule; NaN where invalid."""
    points: tuple[NDArray[np.float64], ...] | None = None
    """N arrays [n, 3]."""
    ndvi: NDArray[np.float32] | None = None
    """[N, rows, cols] in [-1, 1], NaN where unknown."""
    extra: dict[str, NDArray[Any]] | None = None

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.windows)
