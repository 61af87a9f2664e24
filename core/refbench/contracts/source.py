"""Sources: things that are opened when asked for, by window where they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.crs import CRS

    from refbench.contracts.grid import Bounds, Grid, Window
    from refbench.contracts.points import PointCloud
    from refbench.contracts.raster import DSM, Image, Mask

    T_co = TypeVar("T_co", DSM, Image, Mask, covariant=True)
else:
    T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class RasterSource(Protocol[T_co]):
    """A raster that is read on demand. ``read`` of a window past the edge pads with NoData (NaN, invalid, unknown)."""

    @property
    def grid(self) -> Grid | None:
        """The grid, known without reading pixels; None for camera images."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols), known without reading pixels."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files behind it, for hashing; empty for what lives in memory."""

    def read(self, window: Window | None = None) -> T_co:
        """Return the whole raster or a window of it. Raises ``InputError`` where the file cannot be read."""


@runtime_checkable
class StatesNoData(Protocol):
    """A raster source whose file has a NoData code of its own: what is made from it is written with the same code."""

    @property
    def nodata(self) -> float | None:
        """The code; None where the file has none."""


@runtime_checkable
class PointSource(Protocol):
    """A point cloud that is read on demand."""

    @property
    def crs(self) -> CRS | None:
        """The CRS of the points, None where it is not known."""

    @property
    def vertical(self) -> str:
        """The vertical datum of the heights, ``unknown`` where it is not known."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files behind it, for hashing; empty for what lives in memory."""

    def bounds(self) -> Bounds:
        """Return the rectangle around all points, in CRS units."""

    def count(self) -> int:
        """Return the number of points."""

    def read(self, bounds: Bounds | None = None) -> PointCloud:
        """Return all points, or those with west <= x < east and south <= y < north."""
