"""Rasters in memory where they fit a budget, so that many small windows need no decompression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from refbench.contracts.raster import DSM, Image, Mask
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from refbench.contracts.source import RasterSource

T = TypeVar("T", DSM, Image, Mask)
BYTES_PER_PIXEL = 8


@dataclass(slots=True)
class MemoryBudget:
    """How many bytes may still be held."""

    left: int

    def hold(self, source: RasterSource[T]) -> RasterSource[T]:
        """Return ``source`` read into memory where that fits what is left, else ``source`` itself."""
        grid = source.grid
        if grid is None:
            return source
        need = BYTES_PER_PIXEL * grid.width * grid.height
        if need > self.left:
            return source
        self.left -= need
        return ArraySource(source.read())
