"""Streaming a tile method over a scene: cut, refine, blend, write finished rows. Memory is bounded by a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from refbench.contracts.errors import InputError
from refbench.engine.blend import StripBlender
from refbench.engine.cut import TileCutter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from refbench.contracts.grid import Window
    from refbench.contracts.method import Context, TileMethod
    from refbench.contracts.need import Need
    from refbench.contracts.scene import Scene
    from refbench.contracts.tiles import TilePlan

MAX_BATCH = 16


class RowWriter(Protocol):
    """What takes finished rows: a ``DSMWriter``, or an array in tests."""

    def write(self, window: Window, heights: NDArray[np.float32]) -> None:
        """Take heights float32 [rows, cols] of a window."""


@dataclass(slots=True)
class ArrayWriter:
    """A ``RowWriter`` that keeps the heights in memory: ``heights`` float32 [rows, cols]."""

    heights: NDArray[np.float32]

    def write(self, window: Window, heights: NDArray[np.float32]) -> None:
        """Copy the rows."""
        self.heights[window.slices] = heights


def run_tiles(
    method: TileMethod,
    scene: Scene,
    context: Context,
    writer: RowWriter,
    *,
    needs: Iterable[Need],
    fills: bool = False,
    batch_tiles: int | None = None,
) -> TilePlan:
    """Refine the whole grid of ``scene`` tile by tile and write it in strips of finished rows.

    Parameters
    ----------
    method
        The method; ``prepare`` has been called.
    scene
        It holds a grid and everything in ``needs``.
    context
        Its memory budget bounds how many tiles are cut at once.
    writer
        Takes the finished rows from north to south.
    needs
        What is cut for the tiles.
    fills
        False: pixels that are NaN in the initial DSM stay NaN.
    batch_tiles
        How many tiles at once; None derives it from the budget. The numbers do not depend on it.

    Returns
    -------
    TilePlan
        The plan that was followed.

    Raises
    ------
    UnsupportedError
        The scene has no grid.
    InputError
        The plan leaves pixels without a tile, or the method returns another shape.
    CancelledError
        The context was cancelled.
    """
    grid = scene.require_grid()
    plan = method.plan(grid)
    order = np.lexsort((plan.cols, plan.rows))
    cutter = TileCutter(scene, plan, frozenset(needs))
    blender = StripBlender(plan, grid.width)
    size = batch_tiles or _batch_size(cutter.bytes_per_tile, context.memory_budget_bytes)
    restore = scene.dsm if not fills else None

    def flush(stop_row: int) -> None:
        for window, heights in blender.finished(min(stop_row, grid.height)):
            if restore is not None:
                heights[~restore.read(window).valid] = np.nan
            writer.write(window, heights)

    for start in range(0, len(order), size):
        context.check_cancelled()
        indices = order[start : start + size]
        batch = cutter.cut(indices)
        heights = np.asarray(method.refine_tiles(batch, context))
        if heights.shape != (len(indices), plan.height, plan.width):
            expected = (len(indices), plan.height, plan.width)
            raise InputError(f"The method returned tiles of shape {heights.shape}, expected {expected}.")
        for position, index in enumerate(indices):
            flush(int(plan.rows[index]))
            blender.add(plan.window(int(index)), heights[position], float(batch.height_offset[position]))
        context.report(min(1.0, (start + len(indices)) / len(order)), f"{start + len(indices)} of {len(order)} tiles")
    flush(grid.height)
    return plan


def _batch_size(bytes_per_tile: int, budget: int) -> int:
    """Return how many tiles fit a quarter of the budget: the method needs the rest."""
    return int(np.clip(budget // (4 * max(bytes_per_tile, 1)), 1, MAX_BATCH))
