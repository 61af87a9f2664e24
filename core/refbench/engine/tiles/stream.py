"""Streaming a tile method over a scene: cut, refine, blend, write finished rows. Memory is bounded by a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from refbench.contracts.errors import MethodError
from refbench.contracts.tiles import TilePlan
from refbench.engine.tiles.blend import StripBlender
from refbench.engine.tiles.tile_cut import ORTHO_NEEDS, TileCutter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.method import Context, TileMethod
    from refbench.contracts.need import Need
    from refbench.contracts.raster import DSM as Heights
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource

MAX_BATCH = 16
DSM, CONFIDENCE = "dsm", "confidence"


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


@dataclass(frozen=True, slots=True)
class _Strip:
    """One raster in the making."""

    name: str
    blender: StripBlender
    writer: RowWriter


def run_tiles(
    method: TileMethod,
    scene: Scene,
    context: Context,
    writer: RowWriter,
    *,
    needs: Iterable[Need],
    fills: bool = False,
    batch_tiles: int | None = None,
    layers: Mapping[str, RowWriter] | None = None,
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
    layers
        Takers of the method's ``layers``, by name.

    Returns
    -------
    TilePlan
        The plan that was followed.

    Raises
    ------
    UnsupportedError
        The scene has no grid.
    MethodError
        The method returns tiles of another shape, or not those of every layer.
    CancelledError
        The context was cancelled.
    """
    grid = scene.require_grid()
    plan = _plan(method, scene, grid)
    needs = frozenset(needs)
    order = np.lexsort((plan.cols, plan.rows))
    cutter = TileCutter(scene, plan, needs, method.orthos(scene) if needs & ORTHO_NEEDS else ())
    strips = [
        _Strip(name, StripBlender(plan, grid.width), taker) for name, taker in {DSM: writer, **(layers or {})}.items()
    ]
    size = batch_tiles or _batch_size(cutter.bytes_per_tile * len(strips), context.memory_budget_bytes)
    restore = scene.dsm if not fills else None

    def flush(stop_row: int) -> None:
        for strip in strips:
            for window, heights in strip.blender.finished(min(stop_row, grid.height)):
                if restore is not None:
                    heights[~restore.read(window).valid] = np.nan
                if scene.areas:
                    heights[~inside_areas(scene.areas, window)] = np.nan
                strip.writer.write(window, heights)

    for indices, seen in _batches(order, size, plan, restore):
        context.check_cancelled()
        batch = cutter.cut(indices)
        answer = method.refine_tiles(batch, context)
        tiles = _checked(answer, strips, (len(indices), plan.height, plan.width))
        for position, index in enumerate(indices):
            flush(int(plan.rows[index]))
            for strip, heights in zip(strips, tiles, strict=True):
                offset = 0.0 if strip.name == CONFIDENCE else float(batch.height_offset[position])
                strip.blender.add(int(index), heights[position], offset)
        context.report(seen / len(order), f"{seen} of {len(order)} tiles")
    flush(grid.height)
    return plan


def _batches(
    order: NDArray[np.int64], size: int, plan: TilePlan, restore: RasterSource[Heights] | None
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield the tiles of every batch and how many tiles were seen by then.

    Where NoData is put back, a tile without any initial height would change no pixel, so it is left out.
    """
    batch: list[int] = []
    for seen, index in enumerate(order.tolist(), start=1):
        if restore is None or restore.read(plan.window(index)).valid.any():
            batch.append(index)
        if batch and (len(batch) == size or seen == len(order)):
            yield np.array(batch), seen
            batch = []


def _plan(method: TileMethod, scene: Scene, grid: Grid) -> TilePlan:
    """Return the method's plan of the grid, or of each of the scene's areas."""
    if not scene.areas:
        return method.plan(grid)
    return TilePlan.joined([(method.plan(grid.window(area)), area.row_off, area.col_off) for area in scene.areas])


def inside_areas(areas: Sequence[Window], window: Window) -> NDArray[np.bool_]:
    """Return which pixels of ``window`` lie in one of the areas, bool [rows, cols]."""
    inside = np.zeros((window.height, window.width), np.bool_)
    for area in areas:
        if (part := area.intersection(window)) is not None:
            inside[part.shifted(-window.col_off, -window.row_off).slices] = True
    return inside


def _checked(
    answer: NDArray[np.float32] | Mapping[str, NDArray[np.float32]],
    strips: Sequence[_Strip],
    expected: tuple[int, int, int],
) -> list[NDArray[np.float32]]:
    """Return the tiles [N, rows, cols] of every strip, of the shape that was asked for."""
    named = answer if isinstance(answer, Mapping) else {DSM: answer}
    tiles = []
    for strip in strips:
        if strip.name not in named:
            raise MethodError(f"It announced the layer {strip.name} but returned no tiles of it.")
        heights = np.asarray(named[strip.name])
        if heights.shape != expected:
            raise MethodError(f"It returned tiles of shape {heights.shape}, expected {expected}.")
        tiles.append(heights)
    return tiles


def _batch_size(bytes_per_tile: int, budget: int) -> int:
    """Return how many tiles fit a quarter of the budget: the method needs the rest."""
    return int(np.clip(budget // (4 * max(bytes_per_tile, 1)), 1, MAX_BATCH))
