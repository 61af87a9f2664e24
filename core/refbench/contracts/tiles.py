"""Tiles: where they lie (the method's choice) and what is cut for them (the engine's work)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import Image


@dataclass(frozen=True, slots=True, eq=False)
class TilePlan:
    """Where a method's tiles lie on a grid, and how they blend.

    ``rows`` and ``cols`` int64 [n] are the first row and column of each tile (they may lie outside the grid: the
    engine pads with NoData and crops). All tiles are ``height`` x ``width`` px. A pixel's weight in its tile is
    ``row_weights[i] * col_weights[j]``, float64; the result is the weighted mean over tiles, NaN heights left out.
    Where tiles weigh differently (the first and the last of a row), the weights are tables [profiles, pixels] and
    ``row_profiles``, ``col_profiles`` int64 [n] name each tile's line. ``anchors`` float64 [n, 2] are the tiles'
    south-west corners in CRS metres where these are not the corners of
    the pixels (ImpliCity anchors in metres); None takes the pixels' own.
    """

    height: int
    width: int
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    row_weights: NDArray[np.float64]
    col_weights: NDArray[np.float64]
    anchors: NDArray[np.float64] | None = None
    row_profiles: NDArray[np.int64] | None = None
    col_profiles: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check shapes and weights."""
        count = check_shape("Tile rows", self.rows, "n")["n"]
        if self.cols.shape != (count,) or count == 0:
            raise InputError(f"A tile plan needs as many rows as columns and at least one, got {count}.")
        _check_weights("row", self.row_weights, self.row_profiles, self.height, count)
        _check_weights("col", self.col_weights, self.col_profiles, self.width, count)
        if self.anchors is not None:
            check_shape("Tile anchors", self.anchors, f"{count} 2")
        for name in ("rows", "cols", "row_weights", "col_weights", "anchors", "row_profiles", "col_profiles"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, frozen(array))

    def weights_of(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the row weights [height] and column weights [width] of one tile."""
        rows = self.row_weights if self.row_profiles is None else self.row_weights[self.row_profiles[index]]
        cols = self.col_weights if self.col_profiles is None else self.col_weights[self.col_profiles[index]]
        return rows, cols

    @classmethod
    def joined(cls, parts: Sequence[tuple[TilePlan, int, int]]) -> TilePlan:
        """Return one plan of several, each shifted by its (rows, columns); all have tiles of one size."""
        plans = [plan for plan, _, _ in parts]
        if len({(plan.height, plan.width) for plan in plans}) != 1:
            raise InputError("Only plans with tiles of one size can be joined.")
        row_weights, row_profiles = _stacked([(p.row_weights, p.row_profiles, len(p)) for p in plans])
        col_weights, col_profiles = _stacked([(p.col_weights, p.col_profiles, len(p)) for p in plans])
        anchors = [plan.anchors for plan in plans if plan.anchors is not None]
        return cls(
            plans[0].height,
            plans[0].width,
            np.concatenate([plan.rows + rows for plan, rows, _ in parts]),
            np.concatenate([plan.cols + cols for plan, _, cols in parts]),
            row_weights,
            col_weights,
            np.concatenate(anchors) if len(anchors) == len(plans) else None,
            row_profiles,
            col_profiles,
        )

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


def _check_weights(
    axis: str, weights: NDArray[np.float64], profiles: NDArray[np.int64] | None, size: int, count: int
) -> None:
    table = weights[None] if profiles is None else weights
    if table.ndim != 2 or table.shape[1] != size or not np.isfinite(table).all() or (table < 0).any():
        raise InputError(f"The {axis} weights of a tile plan must be {size} finite values >= 0.")
    if not table.any(axis=1).all():
        raise InputError(f"The {axis} weights of a tile plan must not all be 0.")
    if profiles is not None and (profiles.shape != (count,) or profiles.min() < 0 or profiles.max() >= table.shape[0]):
        raise InputError(f"The {axis} profiles of a tile plan must name one of {table.shape[0]} lines for each tile.")


def _stacked(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.int64] | None, int]],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    tables = [weights[None] if profiles is None else weights for weights, profiles, _ in parts]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    numbers = [
        (np.zeros(count, np.int64) if profiles is None else profiles) + start
        for (_, profiles, count), start in zip(parts, starts, strict=False)
    ]
    return np.concatenate(tables), np.concatenate(numbers)


@dataclass(frozen=True, slots=True, eq=False)
class TileView:
    """The part of a view that shows a tile.

    ``camera`` is that of the whole image: its pixel (col, row) is that of ``image`` at ``col - window.col_off``,
    ``row - window.row_off``. ``image`` [bands, rows, cols] is cut to ``window``; its ``valid`` bool [rows, cols] leaves
    out NoData and what the view's mask excludes.
    """

    name: str
    camera: Camera
    image: Image
    window: Window


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
    """[N, images, rows, cols] on the grid of the DSM, one band per image (the mean of several), NaN where invalid.

    Images come in the order of the method's ``orthos``.
    """
    points: tuple[NDArray[np.float64], ...] | None = None
    """N arrays [n, 3]."""
    ndvi: NDArray[np.float32] | None = None
    """[N, rows, cols] in [-1, 1], NaN where unknown."""
    views: tuple[tuple[TileView, ...], ...] | None = None
    """Those that see the tile, for each of the N tiles, in the order of the method's ``views``."""
    numbers: tuple[int, ...] = ()
    """Which tiles of the plan these are; N of ``total``."""
    total: int = 0
    """How many tiles the plan has."""

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.windows)
