"""A first look at all rasters: the turn of the relief, which blocks hold pixels, and how the residuals are spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.orientation import Orientation
from refbench.evaluation.streaming.blocks import BlockLayout
from refbench.evaluation.streaming.rounded import RoundedCounts, steps_of
from refbench.evaluation.streaming.tiles import Rasters, tiles_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.evaluation.streaming.tiles import Tile

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Survey:
    """What the first look found."""

    layout: BlockLayout
    turn: Orientation
    counts: Floats
    """Pixels of the common domain in every block [rows, cols]."""
    residuals: dict[str, RoundedCounts] = field(default_factory=dict)
    """DSM -> its residuals on the common domain."""


def survey(rasters: Rasters, sides: tuple[int, int], budget_bytes: int) -> Survey:
    """Return what one pass over the reference and the DSMs finds; ``sides`` are rows and columns of a block."""
    shape = rasters.grid.shape
    relief, spread = _Relief(shape), {name: RoundedCounts() for name in rasters.dsms}
    cells = [_cells(size, side) for size, side in zip(shape, sides, strict=True)]
    held = np.zeros([int(cell[-1]) + 1 for cell in cells])
    for tile in tiles_of(rasters.without_masks(), 0, budget_bytes):
        relief.add(tile)
        common = common_of(tile)
        if not common.any():
            continue
        reference = tile.reference[common].astype(np.float64)
        for name, heights in tile.dsms.items():
            spread[name].add(steps_of(heights[common].astype(np.float64) - reference))
        rows, cols = cells[0][tile.rows], cells[1][tile.cols]
        index = ((rows - rows[0])[:, None] * (cols[-1] - cols[0] + 1) + (cols - cols[0])[None, :])[common]
        part = held[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        part += np.bincount(index, minlength=part.size).reshape(part.shape)
    turn = relief.turn()
    layout = BlockLayout.of(shape, sides, turn)
    counts = np.zeros(layout.shape)
    # Every cell lies in one block: where its first pixel lies.
    firsts = [np.flatnonzero(np.diff(cell, prepend=-1)) for cell in cells]
    np.add.at(counts, (layout.rows[firsts[0]][:, None], layout.cols[firsts[1]][None, :]), held)
    return Survey(layout, turn, counts, spread)


def common_of(tile: Tile) -> Bools:
    """Return where the reference counts and every DSM has a height, bool [rows, cols] with the surroundings."""
    return reduce(np.logical_and, (np.isfinite(heights) for heights in tile.dsms.values()), tile.base)


def _cells(size: int, side: int) -> NDArray[np.intp]:
    """Return the cell of every row (or column): no block of either end crosses a border of cells.

    Blocks are laid out from the end that the relief picks, which is known only after this look.
    """
    starts = np.zeros(size, np.bool_)
    starts[::side] = True
    starts[size % side :: side] = True
    return np.cumsum(starts) - 1


class _Relief:
    """First moments of the relief about the middle of a raster: what ``Orientation.of`` takes the signs of."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._rows, self._cols = (np.arange(size) - (size - 1) / 2 for size in shape)
        self._offset: float | None = None
        self._sums = np.zeros(6)

    def add(self, tile: Tile) -> None:
        """Take in the reference of a tile without surroundings."""
        known = np.isfinite(tile.reference)
        if not known.any():
            return
        if self._offset is None:  # keeps digits
            self._offset = float(tile.reference[known][0])
        heights = np.where(known, tile.reference.astype(np.float64) - self._offset, 0.0)
        rows, cols = self._rows[tile.rows], self._cols[tile.cols]
        per_row, per_col = heights.sum(1), heights.sum(0)
        number, number_col = known.sum(1), known.sum(0)
        self._sums += (
            number.sum(), per_row.sum(), per_row @ rows, per_col @ cols, number @ rows, number_col @ cols,
        )  # fmt: skip

    def turn(self) -> Orientation:
        """Return the turn after which the heights rise to the right, and less so downwards."""
        n, total, down, right, rows, cols = self._sums
        if not n:
            return Orientation()
        down, right = down - total / n * rows, right - total / n * cols
        return Orientation(bool(down < 0), bool(right < 0), bool(abs(down) > abs(right)))
