"""A raster on another grid, read by window: the one place where files come to another CRS, pixel size or corner.

Each window of the target is sampled from the window of the source that it needs, so memory follows the window. Places
are computed in the frame of the whole grids: a pixel does not depend on the window that it was read by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds, Window
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Image, Mask
from refbench.formats.utm import unturned
from refbench.geometry.crs_map import crs_map
from refbench.geometry.kernels import area_mean, known_bilinear, known_cubic, known_nearest
from refbench.geometry.warp import kernels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.source import RasterSource

    Floats = NDArray[np.float64]

T = TypeVar("T", DSM, Image, Mask)

KERNELS = ("auto", "nearest", "bilinear", "cubic", "average")
ALL_KERNELS = (*KERNELS, *(name for name in kernels if name not in KERNELS))
"""Those and GDAL's own, which only bring a DSM to the reference's grid for scoring."""
FINER = 1.5
"""``auto`` averages where the source's pixels are smaller than the target's by this factor of length."""
MOST_POINTS = 32
"""Points of ``average`` a pixel and axis; a source that is still finer is sampled at these."""
MARGIN = 3
BLOCK_POINTS = 1 << 21
"""Points that are sampled at once."""


def chosen_kernel(kernel: str, source: Grid, target: Grid) -> str:
    """Return what ``auto`` stands for between two grids; any other kernel is itself."""
    if kernel not in KERNELS:
        raise InputError(f"There is no resampling kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")
    if kernel != "auto":
        return kernel
    columns, rows = _steps(source, target)
    # By area: pixels may be oblong and turned against each other.
    area = abs(columns[0] * rows[1] - columns[1] * rows[0])
    return "average" if math.sqrt(area) > FINER else "bilinear"


def check_kernel(name: str) -> str:
    """Return the name of a kernel, or raise ``InputError`` where there is none of that name."""
    if name not in ALL_KERNELS:
        raise InputError(f"There is no resampling kernel {name!r}; choose one of {', '.join(ALL_KERNELS)}.")
    return name


@dataclass(frozen=True)
class Warped(Generic[T]):
    """A DSM, image or mask as a source on another grid.

    ``kernel`` is one of ``KERNELS``; masks want ``nearest``. ``anywhere``: a pixel is known where any contributor
    of its kernel is, not only where the nearest one is. A raster without CRS is taken to be in the target's.
    """

    source: RasterSource[T]
    target: Grid
    kernel: str = "auto"
    anywhere: bool = False

    @property
    def grid(self) -> Grid:
        """The target, with the vertical datum of the source where it has none of its own."""
        own = self._source_grid.vertical
        return replace(self.target, vertical=own) if own != "unknown" else self.target

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the target."""
        return self.target.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the source."""
        return self.source.files

    def content_hash(self) -> str:
        """Return the hash of what lies behind it."""
        return str(cast("Any", self.source).content_hash())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the source says of itself."""
        return tuple(getattr(self.source, "warnings", ()))

    @property
    def nodata(self) -> float | None:
        """The NoData code of the source."""
        return getattr(self.source, "nodata", None)

    @property
    def bands(self) -> int:
        """Number of bands of an image."""
        return int(cast("Any", self.source).bands)

    @property
    def kernel_used(self) -> str:
        """The kernel, ``auto`` resolved."""
        return chosen_kernel(self.kernel, self._source_grid, self.target)

    @property
    def pixels_per_pixel(self) -> float:
        """How many pixels of the source a pixel in the middle of the target spans, along the finer axis."""
        return float(np.hypot(*_steps(self._source_grid, self.target)).max())

    @property
    def _source_grid(self) -> Grid:
        grid = self.source.grid
        assert grid is not None  # camera images are not warped
        return grid

    def read(self, window: Window | None = None) -> T:
        """Return the raster on the target grid or a window of it; NoData where the source does not reach."""
        wanted: Window = window or self.target.full_window
        block: Window
        kernel = self.kernel_used
        points = self._points if kernel == "average" else 1
        values: Floats | None = None
        for block in _blocks(wanted, points):
            sampled, contract = self._sampled(block, kernel, points)
            if values is None:
                values = np.empty((len(sampled), wanted.height, wanted.width))
            values[(slice(None), *block.shifted(-wanted.col_off, -wanted.row_off).slices)] = sampled
        assert values is not None  # a window has a pixel
        return _contract(values, self.grid.window(wanted), contract)

    def _sampled(self, block: Window, kernel: str, points: int) -> tuple[Floats, T]:
        """Return values float64 [bands, rows, cols] (NaN unknown) of a block, and the window of the source it needs."""
        col, row = self._places(block, points)
        part = self._needed(col, row)
        contract = self.source.read(part)
        bands = _as_bands(contract)
        col, row = col - part.col_off, row - part.row_off
        if kernel == "nearest":
            values = known_nearest(bands, col, row)
        elif kernel == "average":
            values = area_mean(bands, col, row, points**2)
        else:
            sample = known_cubic if kernel == "cubic" else known_bilinear
            values = sample(bands, col, row, anywhere=self.anywhere)
        return values.reshape(len(bands), block.height, block.width), contract

    @property
    def _points(self) -> int:
        """Return the points a pixel and axis: two for each pixel of the source, one where that were too many."""
        finest = int(np.ceil(self.pixels_per_pixel - 1e-3))
        return max(2, 2 * finest if 2 * finest <= MOST_POINTS else min(MOST_POINTS, finest))

    def _places(self, block: Window, points: int) -> tuple[Floats, Floats]:
        """Return column and row in the source (integers are centres) of ``points`` ** 2 points in each pixel, [N]."""
        inside = (np.arange(points) + 0.5) / points
        across = (np.arange(block.col_off, block.col_stop)[:, None] + inside).ravel()
        down = (np.arange(block.row_off, block.row_stop)[:, None] + inside).ravel()
        rows, cols = block.height, block.width
        col, row = np.broadcast_arrays(across[None, :], down[:, None])
        # Grouped by pixel: [rows, points, cols, points] -> [rows, cols, points, points].
        grouped = (a.reshape(rows, points, cols, points).swapaxes(1, 2).ravel() for a in (col, row))
        col, row = grouped
        t = self.target.transform
        x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
        return _in_source(self._source_grid, self.target, x, y)

    def _needed(self, col: Floats, row: Floats) -> Window:
        """Return the window of the source around places [N]; one pixel off the raster where none of them is on it."""
        rows, cols = self.source.shape
        box = []
        for place, size in ((col, cols), (row, rows)):
            known = place[np.isfinite(place)]
            if not known.size or known.max() < -MARGIN or known.min() > size + MARGIN:
                return Window(-8, -8, 1, 1)
            low = max(-MARGIN, int(np.floor(known.min())) - MARGIN)
            box.append((low, min(size + MARGIN, int(np.ceil(known.max())) + MARGIN + 1)))
        (left, right), (top, bottom) = box
        return Window(left, top, max(1, right - left), max(1, bottom - top))


def _blocks(window: Window, points: int) -> Iterator[Window]:
    """Yield parts of a window that are sampled at once."""
    most = max(1, BLOCK_POINTS // points**2)
    width = min(window.width, most)
    height = max(1, most // width)
    for row in range(window.row_off, window.row_stop, height):
        for col in range(window.col_off, window.col_stop, width):
            yield Window(col, row, min(width, window.col_stop - col), min(height, window.row_stop - row))


def _contract(values: Floats, grid: Grid, like: T) -> T:
    """Return values [bands, rows, cols], NaN unknown, on a grid as what ``like`` is."""
    if isinstance(like, DSM):
        return DSM(values[0].astype(np.float32), grid)
    if isinstance(like, Mask):
        return Mask(np.where(np.isfinite(values[0]), values[0], MASK_UNKNOWN).astype(np.uint8), grid, like.name)
    valid = np.asarray(np.isfinite(values).all(axis=0))
    pixels = _as_type(np.where(valid, values, 0.0), like.pixels.dtype)
    return Image(pixels, grid, like.band_names, valid)


def _in_source(source: Grid, target: Grid, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return (col, row) in the source, integers at pixel centres, of places in the target's CRS [N]."""
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        x, y = crs_map(target.crs, source.crs, target.bounds)(x, y)
        if source.crs.is_geographic:
            middle: Bounds = source.bounds
            x = unturned(x, (middle.west + middle.east) / 2)
    with np.errstate(invalid="ignore"):
        col, row = source.pixel_of(x, y)
    return col - 0.5, row - 0.5


def _steps(source: Grid, target: Grid) -> tuple[Floats, Floats]:
    """Return how far, in columns and rows of the source [2] each, one pixel right and one down is in the target."""
    col, row = target.width / 2, target.height / 2
    corners = [target.transform @ place for place in ((col, row), (col + 1, row), (col, row + 1))]
    x, y = (np.array(axis, np.float64) for axis in zip(*corners, strict=True))
    across, down = _in_source(source, target, x, y)
    return across[1:] - across[0], down[1:] - down[0]


def _as_bands(contract: DSM | Image | Mask) -> NDArray[Any]:
    """Return a contract as floating bands [bands, rows, cols], NaN where unknown."""
    if isinstance(contract, DSM):
        return contract.heights[None]
    if isinstance(contract, Mask):
        known = contract.values != MASK_UNKNOWN
        return np.where(known, contract.values, np.nan)[None]
    pixels = contract.pixels.astype(np.float64)
    return pixels if contract.valid is None else np.where(contract.valid, pixels, np.nan)


def _as_type(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in the type of the source; whole types are rounded and held in their range."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a DSM loses on its way to another grid and back: RMS in metres over ``cells``, and cells lost."""

    rms: float
    cells: int
    lost: int

    def __str__(self) -> str:
        if not self.cells:
            return "no height comes back"
        gone = f"; {self.lost / (self.cells + self.lost):.2%} of the heights do not come back" if self.lost else ""
        return f"there and back its heights change by {self.rms:.3g} m RMS{gone}"


PROBE = 128
PROBES = 4


def round_trip_loss(warped: Warped[DSM]) -> Loss:
    """Return the loss of a warped DSM on its own heights, from up to 16 windows of 128 px spread over its source."""
    source = warped.source
    grid = source.grid
    assert grid is not None  # only what lies somewhere is warped
    back = Warped(warped, grid, warped.kernel, anywhere=True)
    squares, cells, lost = 0.0, 0, 0
    for window in _probes(*grid.shape):
        before, after = source.read(window), back.read(window)
        both = before.valid & after.valid
        difference = before.heights[both].astype(np.float64) - after.heights[both]
        squares += float((difference**2).sum())
        cells += int(both.sum())
        lost += int((before.valid & ~after.valid).sum())
    return Loss(float(np.sqrt(squares / max(cells, 1))), cells, lost)


def _probes(rows: int, cols: int) -> Iterator[Window]:
    """Yield windows spread evenly over a raster; they do not overlap."""
    tall, wide = min(PROBE, rows), min(PROBE, cols)
    down, across = min(PROBES, rows // tall), min(PROBES, cols // wide)
    for j in range(down):
        for i in range(across):
            row = (rows - tall) * j // max(down - 1, 1)
            yield Window((cols - wide) * i // max(across - 1, 1), row, wide, tall)
