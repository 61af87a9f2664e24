"""Blocks of the bootstrap over a raster of any size: where they lie, their sums, and the draws that take them.

The same blocks, numbers and draws as ``block_draws`` makes of arrays; only the order of a sum differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.method import derived_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.evaluation.orientation import Orientation
    from refbench.evaluation.streaming.tiles import Tile

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class BlockLayout:
    """Which block every row and column of a raster lies in, after the turn that its relief picks."""

    rows: Indices
    """Row of blocks of every row of the raster."""
    cols: Indices
    """Column of blocks of every column."""
    is_transposed: bool
    """Whether blocks are numbered column by column."""

    @classmethod
    def of(cls, shape: tuple[int, int], sides: tuple[int, int], turn: Orientation) -> BlockLayout:
        """Return the layout of blocks of ``sides`` (rows, columns of the raster)."""
        rows, cols = (np.arange(size) for size in shape)
        rows, cols = (rows[::-1] if turn.flip_rows else rows), (cols[::-1] if turn.flip_cols else cols)
        return cls(rows // sides[0], cols // sides[1], turn.transposed)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of columns of blocks."""
        return int(self.rows.max()) + 1, int(self.cols.max()) + 1

    def in_order(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values of blocks [rows, cols] in the order of their numbers."""
        return (values.T if self.is_transposed else values).ravel()

    def of_tile(self, tile: Tile) -> TileBlocks:
        """Return the blocks of the pixels of a tile."""
        rows, cols = self.rows[tile.rows], self.cols[tile.cols]
        first = int(rows.min()), int(cols.min())
        shape = int(rows.max()) - first[0] + 1, int(cols.max()) - first[1] + 1
        index = (rows - first[0])[:, None] * shape[1] + (cols - first[1])[None, :]
        return TileBlocks((slice(first[0], first[0] + shape[0]), slice(first[1], first[1] + shape[1])), index)


@dataclass(frozen=True, slots=True, eq=False)
class TileBlocks:
    """The blocks that a tile touches: ``where`` they lie among all, and the one of every pixel, counted there."""

    where: tuple[slice, slice]
    index: Indices
    """[rows, cols] of the tile."""

    def add(self, sums: Floats, index: Indices, values: Floats | Bools | None = None) -> None:
        """Add values [N], or counts, of pixels with ``index`` [N] to the sums of all blocks [rows, cols]."""
        part = sums[self.where]
        part += np.bincount(index, values, part.size).reshape(part.shape)


class StreamedDraws:
    """Draws of blocks with replacement, as ``BlockDraws`` makes them.

    Parameters
    ----------
    layout
        Of all blocks.
    counts
        Pixels of the domain in every block [rows, cols]; at least two blocks hold some.
    seed, block_px, repeats
        As ``BlockDraws.over`` takes them.
    """

    def __init__(self, layout: BlockLayout, counts: Floats, seed: int, block_px: int, repeats: int) -> None:
        self._layout, self._held = layout, layout.in_order(counts) > 0
        self.blocks = int(np.count_nonzero(self._held))
        rng = derived_rng(seed, "block bootstrap", block_px)
        # Draw by draw this is the stream of one large array; a block is drawn once on average, never 256 times.
        self.weights = np.empty((repeats, self.blocks), np.uint8)
        """How often every draw took every block that holds pixels [repeats, blocks]."""
        for number in range(repeats):
            self.weights[number] = np.bincount(rng.integers(0, self.blocks, self.blocks), minlength=self.blocks)
        position = np.full(counts.size, -1, np.intp)
        position[self._held] = np.arange(self.blocks)
        rows, cols = counts.shape
        self._position = position.reshape(cols, rows).T if layout.is_transposed else position.reshape(rows, cols)

    @classmethod
    def over(cls, layout: BlockLayout, counts: Floats, seed: int, block_px: int, repeats: int) -> StreamedDraws | None:
        """Return the draws; None where fewer than two blocks hold pixels."""
        return cls(layout, counts, seed, block_px, repeats) if np.count_nonzero(counts) > 1 else None

    def sums(self, per_block: Floats) -> Floats:
        """Return the sum in every draw, float64 [repeats], of the sums of all blocks [rows, cols]."""
        values = self._layout.in_order(per_block)[self._held]
        step = max(1, CHUNK_BYTES // (8 * self.blocks))
        parts = [self.weights[first : first + step] @ values for first in range(0, len(self.weights), step)]
        return np.concatenate(parts)

    def of_tile(self, blocks: TileBlocks) -> tuple[NDArray[np.float32], Indices]:
        """Return the weights [repeats, B] of the blocks of a tile that hold pixels, and their places there [B]."""
        position = self._position[blocks.where].ravel()
        places = np.flatnonzero(position >= 0)
        return self.weights[:, position[places]].astype(np.float32), places
