"""Raster geometry: a window of pixels and a georeferenced grid. Rows run down, heights are not part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine as Transform

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from rasterio.crs import CRS

GRID_TOLERANCE_PX = 1e-3


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels; it may reach past the raster that it is read from."""

    col_off: int
    row_off: int
    width: int
    height: int

    def __post_init__(self) -> None:
        """Refuse a window without pixels."""
        if self.width < 1 or self.height < 1:
            raise InputError(f"A window needs at least one pixel, got {self.width} x {self.height}.")

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row_off + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col_off + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices; only meaningful where the window lies inside the array."""
        return slice(self.row_off, self.row_stop), slice(self.col_off, self.col_stop)

    def intersection(self, other: Window) -> Window | None:
        """Return the common part with ``other``, or None where they do not touch."""
        col, row = max(self.col_off, other.col_off), max(self.row_off, other.row_off)
        width = min(self.col_stop, other.col_stop) - col
        height = min(self.row_stop, other.row_stop) - row
        return Window(col, row, width, height) if width > 0 and height > 0 else None

    def shifted(self, cols: int, rows: int) -> Window:
        """Return the same rectangle moved by whole pixels."""
        return Window(self.col_off + cols, self.row_off + rows, self.width, self.height)


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """A rectangle in CRS metres: ``[west, east) x [south, north)``."""

    west: float
    south: float
    east: float
    north: float

    def padded(self, metres: float) -> Bounds:
        """Return the rectangle grown by ``metres`` on all sides."""
        return Bounds(self.west - metres, self.south - metres, self.east + metres, self.north + metres)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Grid:
    """Where the pixels of a raster lie.

    ``transform`` maps (col, row) of pixel *corners* to CRS coordinates, so the centre of the first pixel is
    (0.5, 0.5). ``vertical`` is the vertical datum: ``ellipsoid``, an EPSG code such as ``EPSG:5773``, or ``unknown``.
    Two grids are equal where they agree to ``GRID_TOLERANCE_PX`` at every corner and in size and CRS.
    """

    width: int
    height: int
    transform: Transform
    crs: CRS | None = None
    vertical: str = "unknown"

    def __post_init__(self) -> None:
        """Refuse an empty, infinite or degenerate grid."""
        if self.width < 1 or self.height < 1:
            raise InputError(f"A grid needs at least one pixel, got {self.width} x {self.height}.")
        values = tuple(self.transform)[:6]
        if not all(map(math.isfinite, values)) or self.transform.determinant == 0:
            raise InputError(f"The transform {values} cannot be inverted; give a raster with a valid geotransform.")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.height, self.width

    @property
    def resolution(self) -> tuple[float, float]:
        """Pixel size (x, y) in CRS units, both positive."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def gsd(self) -> float:
        """Ground sampling distance in CRS units: the geometric mean of the two pixel sizes."""
        x, y = self.resolution
        return math.sqrt(x * y)

    @property
    def is_north_up(self) -> bool:
        """Whether columns run east and rows run south."""
        t = self.transform
        return t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0

    @property
    def bounds(self) -> Bounds:
        """The rectangle around all pixel corners."""
        corners = [self.transform @ p for p in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))]
        xs, ys = zip(*corners, strict=True)
        return Bounds(min(xs), min(ys), max(xs), max(ys))

    @property
    def origin(self) -> tuple[float, float]:
        """South-west corner floored to whole metres: what float32 coordinates are made relative to."""
        bounds = self.bounds
        return float(math.floor(bounds.west)), float(math.floor(bounds.south))

    def window(self, window: Window) -> Grid:
        """Return the grid of a window; it may reach past this grid."""
        transform = self.transform @ Transform.translation(window.col_off, window.row_off)
        return Grid(window.width, window.height, transform, self.crs, self.vertical)

    @property
    def full_window(self) -> Window:
        """The window that covers the whole grid."""
        return Window(0, 0, self.width, self.height)

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x and y of all pixel centres, each float64 [rows, cols], in CRS units."""
        cols, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        t = self.transform
        return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f

    def pixel_of(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return fractional (col, row) in corner coordinates; ``floor`` gives the pixel that holds the point.

        ``x`` and ``y`` are metres in the grid's CRS, of any one shape, which the pixels keep.
        """
        inverse = ~self.transform
        # Local to the grid's corner first: in UTM coordinates the products would lose digits.
        dx, dy = np.asarray(x, np.float64) - self.transform.c, np.asarray(y, np.float64) - self.transform.f
        return inverse.a * dx + inverse.b * dy, inverse.d * dx + inverse.e * dy

    @classmethod
    def snap(cls, bounds: Bounds, gsd: float, crs: CRS | None = None, vertical: str = "unknown") -> Grid:
        """Return the north-up grid over ``bounds`` whose corners are multiples of ``gsd`` (GDAL's "tap")."""
        west, north = math.floor(bounds.west / gsd) * gsd, math.ceil(bounds.north / gsd) * gsd
        width = max(1, math.ceil(round((bounds.east - west) / gsd, 6)))
        height = max(1, math.ceil(round((north - bounds.south) / gsd, 6)))
        return cls(width, height, Transform(gsd, 0.0, west, 0.0, -gsd, north), crs, vertical)

    def corner_distance_px(self, other: Grid) -> float:
        """Return the largest distance between corresponding corners, in pixels of this grid."""
        inverse = ~self.transform
        worst = 0.0
        for col, row in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height)):
            mapped = inverse @ (other.transform @ (col, row))
            worst = max(worst, math.hypot(mapped[0] - col, mapped[1] - row))
        return worst

    def differences(self, other: Grid) -> Iterator[str]:
        """Yield one phrase for every property in which ``other`` differs; nothing where the grids are equal."""
        if self.shape != other.shape:
            yield f"size {self.width} x {self.height} against {other.width} x {other.height} px"
        if (distance := self.corner_distance_px(other)) > GRID_TOLERANCE_PX:
            yield f"corners up to {distance:.3g} px apart"
        if self.crs is not None and other.crs is not None and self.crs != other.crs:
            yield f"CRS {self.crs.to_string()} against {other.crs.to_string()}"

    def __eq__(self, other: object) -> bool:
        """Compare with the tolerance of ``GRID_TOLERANCE_PX``."""
        return not any(self.differences(other)) if isinstance(other, Grid) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equality is by tolerance, so no hash can agree with it

    def __repr__(self) -> str:
        """Return size, pixel, CRS and datum on one line."""
        crs = self.crs.to_string() if self.crs is not None else "no CRS"
        return f"Grid({self.width} x {self.height} px of {self.gsd:g} in {crs}, vertical {self.vertical})"
