"""A window of a raster as a source of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from refbench.contracts.raster import DSM, Image, Mask
from refbench.contracts.source import StatesNoData

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.source import RasterSource

T = TypeVar("T", DSM, Image, Mask)


@dataclass(frozen=True)
class Cropped(Generic[T]):
    """A window of a raster as a source of its own; pixels past the raster's edge are NoData."""

    source: RasterSource[T]
    window: Window

    @property
    def grid(self) -> Grid | None:
        """The grid of the window."""
        return None if self.source.grid is None else self.source.grid.window(self.window)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the window."""
        return self.window.height, self.window.width

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the whole raster."""
        return self.source.files

    @property
    def nodata(self) -> float | None:
        """The NoData code of the whole raster."""
        return self.source.nodata if isinstance(self.source, StatesNoData) else None

    def read(self, window: Window | None = None) -> T:
        """Return the window, or a window of it."""
        if window is None:
            return self.source.read(self.window)
        return self.source.read(window.shifted(self.window.col_off, self.window.row_off))
