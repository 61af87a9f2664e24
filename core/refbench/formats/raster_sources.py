"""Raster files as lazily opened sources: DSM, image and mask, each read through the one rule of validity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.grid import Grid, Window
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Image, Mask
from refbench.formats.acquisition import acquisition_time
from refbench.formats.crs import VERTICAL_TAG, split_crs
from refbench.formats.raster_file import padded
from refbench.formats.units import METRES_PER_UNIT, conversion_warning
from refbench.formats.validity import FAR_METRES, HEIGHT_CODES, NEGATIVE_CODES, Validity, undeclared_notes

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.formats.raster_file import RasterFile


@dataclass(frozen=True, slots=True)
class DSMScan:
    """What one pass over a DSM found: pixels with a height, undeclared infinities and values above 1e30."""

    valid: int
    undeclared: int
    codes: tuple[tuple[float, int], ...] = ()
    """Codes that the file does not declare but that count as NoData, each with its number of pixels."""
    notes: tuple[str, ...] = ()
    """What the user should know of these."""


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

    def content_hash(self) -> str:
        """Return a hash of header and pixels, for what is no file on this disk; reads all of it."""
        return self._file.content_hash()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols), known without reading pixels."""
        return self._file.header.height, self._file.header.width

    @property
    def rpcs(self) -> dict[str, str] | None:
        """The RPC metadata of the file in GDAL's spelling (``LINE_OFF``, ...), or None."""
        return self._file.header.rpcs

    @property
    def tags(self) -> dict[str, str]:
        """The metadata of the file."""
        return dict(self._file.header.tags)

    def _parts(self, window: Window | None) -> tuple[Window, Window | None]:
        full = Window(0, 0, self._file.header.width, self._file.header.height)
        window = window or full
        return window, window.intersection(full)


class DSMFile(_FileSource):
    """A DSM in a raster file: float32 metres, NaN where unknown."""

    grid: Grid

    def __init__(
        self, file: RasterFile, grid: Grid, unit: str, notes: tuple[str, ...] = (), nodata: float | None = None
    ) -> None:
        """Take a checked file; ``unit`` is that of its heights, ``nodata`` a code that the user declared."""
        if unit != "metre":
            notes = (*notes, conversion_warning(str(file.path), unit))
        super().__init__(file, grid, notes)
        band = file.header.data_bands[0]
        declared = () if nodata is None else (nodata,)
        self.unit, self._factor, self._band = unit, METRES_PER_UNIT[unit], band
        floor = FAR_METRES / self._factor
        self._validity = Validity(file, [band], HEIGHT_CODES, floor=floor, declared=declared)

    @property
    def place_in_file(self) -> Grid:
        """The grid as the file says it, in its own CRS and unit, heights included; see ``unit``."""
        header = self._file.header
        return Grid(header.width, header.height, header.transform, header.crs or self.grid.crs)

    @property
    def vertical_in_file(self) -> str:
        """The vertical datum as the file says it, before heights became metres; ``unknown`` where it does not."""
        header = self._file.header
        return split_crs(header.crs).vertical or header.tags.get(VERTICAL_TAG, "unknown")

    def strips(self) -> list[Window]:
        """Return windows over whole rows that cover the raster once."""
        return self._file.strips()

    def read(self, window: Window | None = None) -> DSM:
        """Return the whole DSM or a window of it, NaN past the edge."""
        window, part = self._parts(window)
        if part is None:
            return DSM(np.full((window.height, window.width), np.nan, np.float32), self.grid.window(window))
        return DSM(padded(self._heights(part), window, part, np.nan), self.grid.window(window))

    def _heights(self, part: Window) -> NDArray[np.float32]:
        """Return clean heights [rows, cols] of a window inside the raster."""
        raw = self._file.read([self._band], part)
        valid = self._validity.valid(raw, part)[0]
        values = self._validity.scaled(raw)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            if self._factor != 1.0:
                values = values.astype(np.float64) * self._factor
            heights = np.array(values, np.float32)
        heights[~valid | ~np.isfinite(heights)] = np.nan
        return heights

    @cached_property
    def scan(self) -> DSMScan:
        """Counts over the whole raster, by blocks and only once."""
        found = self._validity.findings
        notes = undeclared_notes(self._file.path, found)
        return DSMScan(found.valid, found.undeclared, found.codes[0], tuple(notes))

    @property
    def nodata(self) -> float | None:
        """The NoData code: declared in the file or by the user, else found in the pixels; None where there is none."""
        declared = (self._file.header.nodata[self._band - 1], *self._validity.declared)
        found = () if None not in declared[:1] else (code for code, _ in self.scan.codes)
        return next((code for code in (*declared, *found) if code is not None), None)


class ImageFile(_FileSource):
    """An image in a raster file; what holds no data by alpha, mask or code is not ``valid``."""

    def __init__(self, file: RasterFile, grid: Grid | None, notes: tuple[str, ...] = ()) -> None:
        """Take a checked file."""
        super().__init__(file, grid, notes)
        # 65535 and 32767 are saturated pixels as often as codes.
        self._validity = Validity(file, file.header.data_bands, NEGATIVE_CODES)

    @property
    def bands(self) -> int:
        """Number of bands of data, known without reading pixels."""
        return len(self._file.header.data_bands)

    @property
    def acquired(self) -> datetime | None:
        """When the image was taken (UTC), where a tag says so."""
        return acquisition_time(self._file.header.tags)

    @property
    def _may_be_invalid(self) -> bool:
        """Whether the header or the type of the pixels lets any pixel hold no data."""
        header = self._file.header
        codes = any(header.nodata[band - 1] is not None or header.masked[band - 1] for band in header.data_bands)
        return codes or bool(header.alphas) or any(np.dtype(name).kind not in "ub" for name in header.dtypes)

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
            raw = np.zeros(shape, np.result_type(*(header.dtypes[band - 1] for band in bands)))
            return Image(self._scaled(raw), grid, names, np.zeros(shape[1:], np.bool_))
        raw = self._file.read(bands, part)
        valid: NDArray[np.bool_] | None = None
        if self._may_be_invalid:
            valid = np.asarray(self._validity.valid(raw, part).all(axis=0))
        elif part != window:
            valid = np.ones((part.height, part.width), np.bool_)
        if valid is not None:
            valid = padded(valid, window, part, False)
        return Image(padded(self._scaled(raw), window, part, 0), grid, names, valid)

    def _scaled(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Apply scale and offset; float32 holds what bytes and shorts give."""
        scaled = self._validity.scaled(raw)
        if scaled is raw or raw.dtype.itemsize > 4:
            return scaled
        with np.errstate(over="ignore"):
            return scaled.astype(np.float32)

    def check(self) -> tuple[str, ...]:
        """Return what the pixels say of undeclared codes; reads them once where their type can hold such codes."""
        if all(np.dtype(self._file.header.dtypes[band - 1]).kind in "ub" for band in self._file.header.data_bands):
            return ()
        return tuple(
            note for note in undeclared_notes(self._file.path, self._validity.findings) if "data. If" not in note
        )


class MaskFile(_FileSource):
    """A class mask in a raster file: 0 = not, NoData = unknown, anything else = class.

    A NoData code of 0 makes nothing unknown: masks mark what lies inside. 255 beside 1 is unknown, declared or not:
    the code of byte masks.
    """

    def __init__(self, file: RasterFile, grid: Grid | None, name: str, notes: tuple[str, ...] = ()) -> None:
        """Take a checked file."""
        super().__init__(file, grid, notes)
        self.name = name
        self._validity = Validity(file, file.header.data_bands[:1], NEGATIVE_CODES)

    def read(self, window: Window | None = None) -> Mask:
        """Return the whole mask or a window of it, ``MASK_UNKNOWN`` past the edge."""
        window, part = self._parts(window)
        values = np.full((window.height, window.width), MASK_UNKNOWN, np.uint8)
        if part is not None:
            rows, cols = part.shifted(-window.col_off, -window.row_off).slices
            values[rows, cols] = self._classes(part, self._bytes_hold_a_code)
        return Mask(values, None if self.grid is None else self.grid.window(window), self.name)

    def _classes(self, part: Window, unknown_255: bool) -> NDArray[np.uint8]:
        """Return 0, 1 and ``MASK_UNKNOWN`` [rows, cols] for a window inside the raster."""
        raw = self._file.read(self._validity.bands, part)
        valid = self._validity.valid(raw, part)[0]
        if not (self._file.header.alphas or self._file.header.masked[self._validity.bands[0] - 1]):
            valid |= raw[0] == 0
        if unknown_255:
            valid &= raw[0] != MASK_UNKNOWN
        inside = self._validity.scaled(raw)[0] != 0
        return np.where(valid, inside.astype(np.uint8), np.uint8(MASK_UNKNOWN))

    @cached_property
    def _bytes_hold_a_code(self) -> bool:
        """Whether the raster holds 1 beside 255; reads it until both are found."""
        if self._file.header.dtypes[self._validity.bands[0] - 1] != "uint8":
            return False
        one = code = False
        for strip in self._file.strips():
            raw = self._file.read(self._validity.bands, strip)
            one, code = one or bool((raw == 1).any()), code or bool((raw == MASK_UNKNOWN).any())
            if one and code:
                return True
        return False

    def check(self) -> tuple[str, ...]:
        """Return a warning where no pixel is inside; reads the mask until one is."""
        if any((self._classes(strip, self._bytes_hold_a_code) == 1).any() for strip in self._file.strips()):
            return ()
        return (
            f"{self._file.path}: the mask {self.name} has no pixel inside (0 is outside, NoData unknown, anything else "
            "inside).",
        )
