"""Rasters as lazily opened sources: DSMs, images, masks; windows past the edge are padded with NoData.

Everything that differs between files ends here: the NoData code (compared in the file's own type), integer heights,
scale and offset, feet, compound CRS, transparency bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid, Window
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Image, Mask
from refbench.formats.acquisition import acquisition_time
from refbench.formats.crs import (
    VERTICAL_TAG,
    metric_vertical,
    parse_crs,
    reconcile_crs,
    reconcile_vertical,
    require_metric,
    split_crs,
    vertical_unit,
)
from refbench.formats.raster_file import RasterFile, RasterHeader, equals_code, padded
from refbench.formats.raster_write import DSMWriter, write_dsm
from refbench.formats.units import METRES_PER_UNIT, conversion_warning, resolve_height_unit

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray
    from rasterio.crs import CRS

__all__ = [
    "ArraySource",
    "DSMFile",
    "DSMScan",
    "DSMWriter",
    "ImageFile",
    "MaskFile",
    "open_dsm",
    "open_image",
    "open_mask",
    "write_dsm",
]

LARGEST_HEIGHT = 1e30

T = TypeVar("T", DSM, Image, Mask)


@dataclass(frozen=True, slots=True)
class DSMScan:
    """What one pass over a DSM found: numbers of pixels with a height, and of undeclared infinities and giants."""

    valid: int
    undeclared: int


class ArraySource(Generic[T]):
    """A raster in memory as a source; windows past the edge are padded like those of a file."""

    def __init__(self, contract: T) -> None:
        """Hold a DSM, an image or a mask."""
        self.contract: T = contract
        self.warnings: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid | None:
        """The grid of the contract."""
        return self.contract.grid

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return _shape_of(self.contract)

    @property
    def files(self) -> tuple[Path, ...]:
        """Nothing: it lives in memory."""
        return ()

    def read(self, window: Window | None = None) -> T:
        """Return the contract itself or a padded window of it."""
        if window is None:
            return self.contract
        rows, cols = self.shape
        part = window.intersection(Window(0, 0, cols, rows))
        return cast("T", _cut(self.contract, window, part))


def _cut(contract: DSM | Image | Mask, window: Window, part: Window | None) -> DSM | Image | Mask:
    """Return ``window`` of a contract, of which ``part`` lies inside."""
    if isinstance(contract, DSM):
        return DSM(_windowed(contract.heights, window, part, np.nan), contract.grid.window(window))
    grid = None if contract.grid is None else contract.grid.window(window)
    if isinstance(contract, Mask):
        return Mask(_windowed(contract.values, window, part, MASK_UNKNOWN), grid, contract.name)
    valid = contract.valid
    if valid is not None or part != window:
        valid = _windowed(np.ones(contract.shape, np.bool_) if valid is None else valid, window, part, False)
    return Image(_windowed(contract.pixels, window, part, 0), grid, contract.band_names, valid)


def _shape_of(contract: DSM | Image | Mask) -> tuple[int, int]:
    if isinstance(contract, Image):
        return contract.shape
    rows, cols = (contract.heights if isinstance(contract, DSM) else contract.values).shape
    return int(rows), int(cols)


def _windowed(array: NDArray[Any], window: Window, part: Window | None, fill: float) -> NDArray[Any]:
    if part is None:
        return np.full((*array.shape[:-2], window.height, window.width), fill, array.dtype)
    rows, cols = part.slices
    return padded(array[..., rows, cols], window, part, fill)


class _FileSource:
    """What the three file sources share."""

    def __init__(self, file: RasterFile, grid: Grid | None, warnings: tuple[str, ...] = ()) -> None:
        self._file = file
        self.grid = grid
        self.warnings = warnings

    @property
    def files(self) -> tuple[Path, ...]:
        """The raster file."""
        return (self._file.path,)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols), known without reading pixels."""
        return self._file.header.height, self._file.header.width

    @property
    def rpcs(self) -> dict[str, str] | None:
        """The RPC metadata of the file in GDAL's spelling (``LINE_OFF``, ...), or None."""
        return self._file.header.rpcs

    @property
    def pixel_is_point(self) -> bool:
        """Whether the file's tag says that pixels are points; the transform already accounts for it."""
        return self._file.header.tags.get("AREA_OR_POINT") == "Point"

    def _parts(self, window: Window | None) -> tuple[Window, Window | None]:
        full = Window(0, 0, self._file.header.width, self._file.header.height)
        window = window or full
        return window, window.intersection(full)


class DSMFile(_FileSource):
    """A DSM in a raster file: float32 metres, NaN where unknown."""

    grid: Grid

    def __init__(self, file: RasterFile, grid: Grid, unit: str) -> None:
        """Take a checked file; ``unit`` is that of its heights."""
        notes = () if unit == "metre" else (conversion_warning(str(file.path), unit),)
        super().__init__(file, grid, notes)
        self._factor = METRES_PER_UNIT[unit] * file.header.scales[0]
        self._offset = METRES_PER_UNIT[unit] * file.header.offsets[0]

    def read(self, window: Window | None = None) -> DSM:
        """Return the whole DSM or a window of it, NaN past the edge."""
        window, part = self._parts(window)
        if part is None:
            return DSM(np.full((window.height, window.width), np.nan, np.float32), self.grid.window(window))
        heights, _ = self._heights(part)
        return DSM(padded(heights, window, part, np.nan), self.grid.window(window))

    def _heights(self, part: Window) -> tuple[NDArray[np.float32], int]:
        """Return clean heights of a window inside the raster and the number of undeclared infinities and giants."""
        raw = self._file.read([1], part)[0]
        unknown = equals_code(raw, self._file.header.nodata[0])
        if self._file.header.has_mask:
            masked = ~self._file.read_mask(part)
            unknown = masked if unknown is None else unknown | masked
        undeclared = 0
        if raw.dtype.kind == "f":
            wild = np.abs(raw) > LARGEST_HEIGHT  # NaN compares false
            if unknown is not None:
                wild &= ~unknown
            undeclared = int(np.count_nonzero(wild))
            unknown = wild if unknown is None else unknown | wild
        if self._factor != 1.0 or self._offset != 0.0:
            with np.errstate(over="ignore", invalid="ignore"):
                raw = raw.astype(np.float64) * self._factor + self._offset
        with np.errstate(over="ignore"):
            heights = np.array(raw, np.float32)
        if unknown is not None:
            heights[unknown] = np.nan
        return heights, undeclared

    @cached_property
    def scan(self) -> DSMScan:
        """Counts over the whole raster, by blocks and only once."""
        valid = undeclared = 0
        for strip in self._file.strips():
            heights, wild = self._heights(strip)
            valid += int(np.count_nonzero(np.isfinite(heights)))
            undeclared += wild
        return DSMScan(valid, undeclared)


class ImageFile(_FileSource):
    """An image in a raster file; a transparency band becomes ``valid``."""

    @property
    def bands(self) -> int:
        """Number of bands of data, known without reading pixels."""
        return len(self._file.header.data_bands)

    @property
    def acquired(self) -> datetime | None:
        """When the image was taken (UTC), where a tag says so."""
        return acquisition_time(self._file.header.tags)

    def read(self, window: Window | None = None) -> Image:
        """Return the whole image or a window of it; pixels past the edge are 0 and not valid."""
        window, part = self._parts(window)
        header = self._file.header
        bands = header.data_bands
        grid = None if self.grid is None else self.grid.window(window)
        names = tuple(header.names[band - 1] for band in bands)
        names = names if any(names) else ()
        if part is None:
            shape = (len(bands), window.height, window.width)
            pixels = np.zeros(shape, np.result_type(*(header.dtypes[band - 1] for band in bands)))
            return Image(pixels, grid, names, np.zeros(shape[1:], np.bool_))
        pixels = self._file.read(bands, part)
        valid = self._valid(pixels, part)
        if valid is None and part != window:
            valid = np.ones((part.height, part.width), np.bool_)
        if valid is not None:
            valid = padded(valid, window, part, False)
        return Image(padded(pixels, window, part, 0), grid, names, valid)

    def _valid(self, pixels: NDArray[Any], part: Window) -> NDArray[np.bool_] | None:
        header = self._file.header
        invalid: NDArray[np.bool_] | None = None
        for values, band in zip(pixels, header.data_bands, strict=True):
            here = equals_code(values.astype(header.dtypes[band - 1], copy=False), header.nodata[band - 1])
            if values.dtype.kind == "f":
                wild = ~(np.abs(values) <= LARGEST_HEIGHT)
                here = wild if here is None else here | wild
            if here is not None:
                invalid = here if invalid is None else invalid | here
        if header.has_mask or header.alpha is not None:
            masked = self._file.read([header.alpha], part)[0] == 0 if header.alpha else ~self._file.read_mask(part)
            invalid = masked if invalid is None else invalid | masked
        return None if invalid is None else ~invalid


class MaskFile(_FileSource):
    """A class mask in a raster file: 1 = class, 0 = not, any other value = unknown, whatever its NoData code."""

    def __init__(self, file: RasterFile, grid: Grid | None, name: str) -> None:
        """Take a checked file."""
        super().__init__(file, grid)
        self.name = name

    def read(self, window: Window | None = None) -> Mask:
        """Return the whole mask or a window of it, ``MASK_UNKNOWN`` past the edge."""
        window, part = self._parts(window)
        values = np.full((window.height, window.width), MASK_UNKNOWN, np.uint8)
        if part is not None:
            raw = self._file.read([1], part)[0]
            inside = np.where(raw == 1, np.uint8(1), np.where(raw == 0, np.uint8(0), np.uint8(MASK_UNKNOWN)))
            rows, cols = part.shifted(-window.col_off, -window.row_off).slices
            values[rows, cols] = inside
        return Mask(values, None if self.grid is None else self.grid.window(window), self.name)


def _one_band(file: RasterFile, what: str) -> None:
    if (count := len(file.header.data_bands)) != 1:
        raise InputError(f"{file.path} has {count} bands; {what} has exactly 1.")


def _is_georeferenced(header: RasterHeader) -> bool:
    return not header.transform.is_identity


def _declared(crs: str | CRS | None) -> CRS | None:
    return None if crs is None else parse_crs(crs)


def open_dsm(
    path: str | Path, *, height_unit: str | None = None, crs: str | CRS | None = None, vertical: str | None = None
) -> DSMFile:
    """Open a DSM; only its header is read.

    Parameters
    ----------
    path
        Any single-band raster that GDAL reads; integers become float32.
    height_unit
        ``metre``, ``foot`` or ``us_survey_foot`` where the file does not say it. Heights become metres.
    crs
        For files that carry none.
    vertical
        ``ellipsoid``, ``unknown`` or an EPSG code, for files that carry none.

    Raises
    ------
    InputError
        A missing or unreadable file, another number of bands than 1, no CRS, one that is not in metres, or a
        declaration that contradicts the file.
    """
    file = RasterFile(Path(path))
    header = file.header
    where = str(file.path)
    _one_band(file, "a DSM")
    if np.dtype(header.dtypes[0]).kind not in "iuf":
        raise InputError(f"{where} has pixels of type {header.dtypes[0]}; heights are real numbers.")
    split = split_crs(header.crs)
    metric = require_metric(where, reconcile_crs(where, split.horizontal, _declared(crs)))
    if not _is_georeferenced(header):
        raise InputError(f"{where} has no geotransform, so its pixels lie nowhere; georeference it first.")
    datum = reconcile_vertical(where, split.vertical or header.tags.get(VERTICAL_TAG), vertical)
    found = [
        ("the band's unit tag", header.units[0]),
        ("its vertical CRS", split.height_unit),
        (f"the vertical datum {datum}", vertical_unit(datum)),
    ]
    unit = resolve_height_unit(where, height_unit, found)
    if unit != "metre":
        datum = metric_vertical(datum)
    return DSMFile(file, Grid(header.width, header.height, header.transform, metric, datum), unit)


def open_image(path: str | Path, *, crs: str | CRS | None = None, in_camera: bool = False) -> ImageFile:
    """Open an image; only its header is read.

    It lies on a grid where the file has a geotransform and ``in_camera`` is False, else in camera pixels.

    Raises
    ------
    InputError
        A missing or unreadable file, or a CRS that contradicts the file's.
    """
    file = RasterFile(Path(path))
    header = file.header
    if not header.data_bands:
        raise InputError(f"{file.path} has only a transparency band; an image needs at least 1 band of data.")
    if in_camera or not _is_georeferenced(header):
        return ImageFile(file, None)
    found = split_crs(header.crs).horizontal
    resolved = reconcile_crs(str(file.path), found, _declared(crs))
    return ImageFile(file, Grid(header.width, header.height, header.transform, resolved))


def open_mask(
    path: str | Path, *, name: str | None = None, crs: str | CRS | None = None, in_camera: bool = False
) -> MaskFile:
    """Open a mask; only its header is read. ``name`` defaults to the file's stem.

    Raises
    ------
    InputError
        A missing or unreadable file, another number of bands than 1, or a CRS that contradicts the file's.
    """
    file = RasterFile(Path(path))
    header = file.header
    _one_band(file, "a mask")
    grid = None
    if not in_camera and _is_georeferenced(header):
        resolved = reconcile_crs(str(file.path), split_crs(header.crs).horizontal, _declared(crs))
        grid = Grid(header.width, header.height, header.transform, resolved)
    return MaskFile(file, grid, name or file.path.stem)
