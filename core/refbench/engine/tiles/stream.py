"""Streaming a tile method over a scene: cut, refine, blend, write finished rows. Memory is bounded by a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from refbench.contracts.errors import MethodError
from refbench.contracts.need import Need
from refbench.contracts.tiles import TilePlan
from refbench.engine.tiles.blend import StripBlender
from refbench.engine.tiles.tile_cut import ORTHO_NEEDS, TileCutter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.method import Context, TileMethod
    from refbench.contracts.raster import DSM as Heights
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource

MAX_BATCH = 16
DSM, CONFIDENCE, PROVENANCE = "dsm", "confidence", "provenance"
NONE, MEASURED, INTERPOLATED = 0, 1, 3
"""Values of a provenance."""


class RowWriter(Protocol):
    """What takes finished rows: a ``DSMWriter``, or an array in tests."""

    def write(self, window: Window, heights: NDArray[Any]) -> None:
        """Take the values [rows, cols] of a window: float32, uint8 of a provenance."""


@dataclass(slots=True)
class ArrayWriter:
    """A ``RowWriter`` that keeps the values in memory: ``heights`` [rows, cols]."""

    heights: NDArray[Any]

    def write(self, window: Window, heights: NDArray[Any]) -> None:
        """Copy the rows. ``heights`` are [rows, cols] of the window, metres or a layer's own unit."""
        self.heights[window.slices] = heights


@dataclass(frozen=True, slots=True)
class _Strip:
    """One raster in the making; ``is_height``: metres that are above the tile's offset."""

    name: str
    blender: StripBlender
    writer: RowWriter
    is_height: bool

    def add(self, index: int, values: NDArray[Any], offset: float) -> None:
        """Blend the values [rows, cols] of a tile in."""
        if self.name == PROVENANCE:
            # The mean of "is measured" is above 0 where any tile with a weight says so.
            values = np.where(values == NONE, np.float32(np.nan), (values == MEASURED).astype(np.float32))
        self.blender.add(index, values, offset if self.is_height else 0.0)

    def write(self, window: Window, values: NDArray[np.float32]) -> None:
        """Hand finished rows on."""
        if self.name == PROVENANCE:
            known = np.where(values > 0, np.uint8(MEASURED), np.uint8(INTERPOLATED))
            self.writer.write(window, np.where(np.isnan(values), np.uint8(NONE), known))
        else:
            self.writer.write(window, values)


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
    rows: tuple[int, int] | None = None,
) -> TilePlan:
    """Refine the grid of ``scene`` tile by tile and write it in strips of finished rows.

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
        Takers of the method's ``layers`` and ``quality_layers``, by name.
    rows
        Write these rows alone, first and end; None: all. Every tile that reaches into them is refined, so their
        heights are those of the whole.

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
    first, end = rows or (0, grid.height)
    order = np.lexsort((plan.cols, plan.rows))
    order = order[(plan.rows[order] < end) & (plan.rows[order] + plan.height > first)]
    orthos = method.orthos(scene) if needs & ORTHO_NEEDS else ()
    cutter = TileCutter(scene, plan, needs, orthos, method.views(scene) if Need.VIEWS in needs else ())
    no_heights = {CONFIDENCE, PROVENANCE, *method.quality_layers()}
    strips = [
        _Strip(name, StripBlender(plan, grid.width, first), taker, name not in no_heights)
        for name, taker in {DSM: writer, **(layers or {})}.items()
    ]
    size = batch_tiles or _batch_size(cutter.bytes_per_tile * len(strips), context.memory_budget_bytes)
    restore = scene.dsm if not fills else None

    def flush(stop_row: int) -> None:
        for strip in strips:
            for window, heights in strip.blender.finished(min(stop_row, end)):
                if restore is not None:
                    heights[~restore.read(window).valid] = np.nan
                if scene.areas:
                    heights[~inside_areas(scene.areas, window)] = np.nan
                strip.write(window, heights)

    for indices, seen in _batches(order, size, plan, restore):
        context.check_cancelled()
        batch = cutter.cut(indices)
        answer = method.refine_tiles(batch, context)
        tiles = _checked(answer, strips, (len(indices), plan.height, plan.width))
        for position, index in enumerate(indices):
            flush(int(plan.rows[index]))
            for strip, values in zip(strips, tiles, strict=True):
                strip.add(int(index), values[position], float(batch.height_offset[position]))
        context.report(seen / len(order), f"{seen} of {len(order)} tiles")
    flush(end)
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
    answer: NDArray[np.float32] | Mapping[str, NDArray[Any]],
    strips: Sequence[_Strip],
    expected: tuple[int, int, int],
) -> list[NDArray[Any]]:
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
