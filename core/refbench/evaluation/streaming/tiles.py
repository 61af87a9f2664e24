"""Walking over rasters on one grid: strips are read, tiles of them are looked at, each with what lies around it.

Tiles are cut at fixed rows and columns and come in one order, whatever the height of the strips; so sums over them
have the same last digits however much memory there is.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.grid import Window
from refbench.contracts.raster import Mask
from refbench.formats.raster_access import STRIP_CACHE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from affine import Affine
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM
    from refbench.contracts.source import RasterSource

    Bools = NDArray[np.bool_]

TILE_ROWS, TILE_COLS = 256, 1024
STRIP_BYTES = 16 << 20
BLOCK_ROWS = 512
"""Rows of a block of a COG."""


@dataclass(frozen=True, slots=True)
class Rasters:
    """What is scored, every source on the grid of the reference."""

    grid: Grid
    reference: RasterSource[DSM]
    dsms: Mapping[str, RasterSource[DSM]]
    masks: Mapping[str, RasterSource[Mask]]
    gt_mask: RasterSource[Mask] | None = None

    @property
    def bytes_per_pixel(self) -> int:
        """What a pixel of a strip takes."""
        return 4 * (1 + len(self.dsms)) + len(self.masks) + (self.gt_mask is not None)

    def without_masks(self) -> Rasters:
        """Return the same without the masks of classes."""
        return Rasters(self.grid, self.reference, self.dsms, {}, self.gt_mask)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A tile with its surroundings; arrays are [rows, cols] of ``outer``, of which ``inner`` is the tile itself."""

    outer: Window
    inner: tuple[slice, slice]
    reference: NDArray[np.float32]
    dsms: dict[str, NDArray[np.float32]]
    masks: dict[str, Mask]
    base: Bools
    """Where the reference counts."""
    transform: Affine

    @property
    def rows(self) -> slice:
        """The tile's own rows of the raster."""
        return slice(self.outer.row_off + self.inner[0].start, self.outer.row_off + self.inner[0].stop)

    @property
    def cols(self) -> slice:
        """The tile's own columns of the raster."""
        return slice(self.outer.col_off + self.inner[1].start, self.outer.col_off + self.inner[1].stop)


def tiles_of(rasters: Rasters, halo: int, budget_bytes: int) -> Iterator[Tile]:
    """Yield the tiles of rasters in the order of their rows, then columns.

    Parameters
    ----------
    rasters
        What to read.
    halo
        Pixels around every tile, where the rasters have them.
    budget_bytes
        A strip takes no more than an eighth of it, unless one row of tiles does.
    """
    height, width = rasters.grid.shape
    step = strip_rows(width, rasters.bytes_per_pixel, budget_bytes)
    for first in range(0, height, step):
        last = min(first + step, height)
        top, below = max(first - halo, 0), min(last + halo, height)
        strip = _read(rasters, Window(0, top, width, below - top))
        for row in range(first, last, TILE_ROWS):
            for col in range(0, width, TILE_COLS):
                inner = Window(col, row, min(TILE_COLS, width - col), min(TILE_ROWS, last - row))
                yield _cut(strip, inner, halo)
        del strip  # before the next one is read
        return_memory()


def return_memory() -> None:
    """Give back what the C library keeps of freed arrays: of many sizes, they would add up strip by strip.

    glibc alone has this call; elsewhere nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def strip_rows(width: int, bytes_per_pixel: int, budget_bytes: int) -> int:
    """Return the rows of a strip: whole tiles, few of them unless blocks would have to be decompressed again."""
    row = width * bytes_per_pixel
    fitting = min(STRIP_BYTES // row, BLOCK_ROWS)
    if BLOCK_ROWS * row > STRIP_CACHE_BYTES:  # GDAL's cache holds no row of blocks until the next strip asks for it
        fitting = min(BLOCK_ROWS, budget_bytes // 8 // row)
    return max(TILE_ROWS, fitting - fitting % TILE_ROWS)


def _read(rasters: Rasters, window: Window) -> Tile:
    """Return a strip with all of its surroundings as its own."""
    reference = rasters.reference.read(window).heights
    base = np.isfinite(reference)
    if rasters.gt_mask is not None:
        base &= rasters.gt_mask.read(window).is_class
    dsms = {name: source.read(window).heights for name, source in rasters.dsms.items()}
    masks = {name: source.read(window) for name, source in rasters.masks.items()}
    inner = slice(0, window.height), slice(0, window.width)
    return Tile(window, inner, reference, dsms, masks, base, rasters.grid.transform)


def _cut(strip: Tile, inner: Window, halo: int) -> Tile:
    whole = strip.outer
    around = Window(inner.col_off - halo, inner.row_off - halo, inner.width + 2 * halo, inner.height + 2 * halo)
    outer = around.intersection(whole)
    assert outer is not None  # a tile lies in its strip
    part = outer.shifted(-whole.col_off, -whole.row_off).slices
    own = inner.shifted(-outer.col_off, -outer.row_off).slices

    def cut(values: NDArray[Any]) -> NDArray[Any]:
        return values[part]

    return Tile(
        outer,
        own,
        cut(strip.reference),
        {name: cut(values) for name, values in strip.dsms.items()},
        {name: Mask(cut(mask.values), None, mask.name) for name, mask in strip.masks.items()},
        cut(strip.base),
        strip.transform,
    )
