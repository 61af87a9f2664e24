"""Rasters on the grid of the reference, read by window: resampled, moved, held in memory where they are small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Image, Mask
from refbench.formats.raster import ArraySource, MaskFile
from refbench.formats.warped import Warped
from refbench.geometry.crs_map import transform_exact
from refbench.geometry.warp import kernels, warp_dsm, warp_mask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench.contracts.grid import Grid
    from refbench.contracts.source import RasterSource
    from refbench.evaluation.shift import Shift

T = TypeVar("T", DSM, Image, Mask)
HELD_BYTES = 64 << 20
"""Rasters that take no more than this together are read once and kept."""
HELD_PX = 5_000_000
"""Of larger ones none is: reading it at once takes several times what is kept."""
_REACH_PX = 4
_BORDER_POINTS = 17


@dataclass(frozen=True)
class _OnGrid(Generic[T]):
    """What rasters on another grid share: its size, and the files of their source."""

    source: RasterSource[T]
    grid: Grid

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the grid."""
        return self.grid.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The files behind it."""
        return self.source.files


@dataclass(frozen=True)
class Resampled(_OnGrid[DSM]):
    """A DSM on another grid, window by window; see ``geometry.warp``."""

    kernel: str

    def read(self, window: Window | None = None) -> DSM:
        """Return the DSM, or a window of it."""
        grid = self.grid if window is None else self.grid.window(window)
        own = self.source.grid
        assert own is not None  # DSMs have one
        part = covering(own, grid)
        if part is None:
            return DSM(np.full(grid.shape, np.nan, np.float32), grid)
        return warp_dsm(self.source.read(part), grid, self.kernel)


@dataclass(frozen=True)
class ResampledMask(_OnGrid[Mask]):
    """A mask on another grid by its nearest pixels, window by window; unknown outside."""

    def read(self, window: Window | None = None) -> Mask:
        """Return the mask, or a window of it."""
        grid = self.grid if window is None else self.grid.window(window)
        own = self.source.grid
        assert own is not None  # one without was taken as it is
        part = covering(own, grid)
        if part is None:
            return Mask(np.full(grid.shape, MASK_UNKNOWN, np.uint8), grid)
        return warp_mask(self.source.read(part), grid)


@dataclass(frozen=True)
class Moved:
    """A DSM moved by a shift, window by window: its grid in the plane, its heights up."""

    source: RasterSource[DSM]
    shift: Shift

    @property
    def grid(self) -> Grid:
        """The moved grid."""
        own = self.source.grid
        assert own is not None  # DSMs have one
        return self.shift.moved(own)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.source.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The files behind it."""
        return self.source.files

    def read(self, window: Window | None = None) -> DSM:
        """Return the DSM, or a window of it."""
        dsm = self.source.read(window)
        return DSM(dsm.heights + np.float32(self.shift.up_m), self.shift.moved(dsm.grid))


def dsm_on(source: RasterSource[DSM], grid: Grid, kernel: str) -> RasterSource[DSM]:
    """Return a DSM on a grid: itself where the grids agree; ``kernel`` as ``grids.on_grid`` takes it."""
    if source.grid == grid:
        return source
    return Resampled(source, grid, kernel) if kernel in kernels else Warped(source, grid, kernel)


def mask_on(source: RasterSource[Mask], grid: Grid, name: str) -> RasterSource[Mask]:
    """Return a mask on a grid by nearest pixels; one without grid must have its shape.

    Raises
    ------
    InputError
        A mask without georeference and with another shape.
    """
    if source.grid is None:
        if source.shape != grid.shape:
            raise InputError(f"Mask {name} has no georeference and not the size of the reference.")
        return source
    return source if source.grid == grid else ResampledMask(source, grid)


def held(sources: Mapping[str, RasterSource[T]], left: int) -> tuple[dict[str, RasterSource[T]], int]:
    """Return sources, read into memory as long as they fit ``left`` bytes, and what is left."""
    found: dict[str, RasterSource[T]] = {}
    for name, source in sources.items():
        rows, cols = source.shape
        need = rows * cols * (1 if isinstance(source, MaskFile) else 4)
        if source.files and rows * cols <= HELD_PX and need <= left:
            left -= need
            found[name] = ArraySource(source.read())
        else:
            found[name] = source
    return found, left


def covering(own: Grid, wanted: Grid) -> Window | None:
    """Return the window of a grid that holds all that resampling to another grid reads; None where they are apart."""
    # The border of what is wanted, corners among it: the map between two CRS is smooth over a window.
    along = np.linspace(0.0, 1.0, _BORDER_POINTS)
    ends = np.zeros_like(along)
    cols = np.concatenate((along, along, ends, ends + 1)) * wanted.width
    rows = np.concatenate((ends, ends + 1, along, along)) * wanted.height
    t = wanted.transform
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    if own.crs is not None and wanted.crs is not None and own.crs != wanted.crs:
        x, y = transform_exact(wanted.crs, own.crs, x, y)
    at_col, at_row = own.pixel_of(x, y)
    if not (np.isfinite(at_col).all() and np.isfinite(at_row).all()):
        return own.full_window
    # A kernel that averages reaches over as many pixels as one of the wanted grid covers.
    wide = np.ptp(at_col) / wanted.width, np.ptp(at_row) / wanted.height
    reach = [_REACH_PX * max(1, int(np.ceil(scale))) for scale in wide]
    left, top = int(np.floor(at_col.min())) - reach[0], int(np.floor(at_row.min())) - reach[1]
    right, below = int(np.ceil(at_col.max())) + reach[0], int(np.ceil(at_row.max())) + reach[1]
    return Window(left, top, right - left, below - top).intersection(own.full_window)
