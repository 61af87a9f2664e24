"""Rasters as lazily opened sources: DSMs, images, masks; windows past the edge are padded with NoData.

Everything that differs between files ends here: the NoData code (compared in the file's own type), integer heights,
scale and offset, feet, compound CRS, transparency bands.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid, Window
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Image, Mask
from refbench.files.gdal_path import own_path
from refbench.formats.crs import (
    VERTICAL_TAG,
    map_unit,
    metric_vertical,
    reconcile_vertical,
    require_map,
    require_metric,
    vertical_unit,
)
from refbench.formats.georeference import georeference
from refbench.formats.raster_file import RasterFile, padded
from refbench.formats.raster_sources import DSMFile, DSMScan, ImageFile, MaskFile
from refbench.formats.raster_write import DSMWriter, write_dsm
from refbench.formats.units import resolve_height_unit

if TYPE_CHECKING:
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

T = TypeVar("T", DSM, Image, Mask)


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


def _named(path: str | Path) -> Path:
    """Return a path as it is; a text is the user's own word and may name what GDAL's virtual file systems hold."""
    return path if isinstance(path, Path) else own_path(path)


def _one_band(file: RasterFile, what: str) -> None:
    if (count := len(file.header.data_bands)) != 1:
        raise InputError(f"{file.path} has {count} bands; {what} has exactly 1.")


def _real(file: RasterFile, what: str) -> None:
    for band in file.header.data_bands:
        if np.dtype(file.header.dtypes[band - 1]).kind not in "iufb":
            raise InputError(f"{file.path} has pixels of type {file.header.dtypes[band - 1]}; {what} are real numbers.")


def open_dsm(
    path: str | Path,
    *,
    height_unit: str | None = None,
    crs: str | CRS | None = None,
    vertical: str | None = None,
    nodata: float | None = None,
    any_crs: bool = False,
) -> DSMFile:
    """Open a DSM; only its header is read.

    Parameters
    ----------
    path
        Any raster of one band, beside which there may be alpha; integers become float32.
    height_unit
        ``metre``, ``foot`` or ``us_survey_foot`` where the file does not say it. Heights become metres.
    crs
        For files that carry none.
    vertical
        ``ellipsoid``, ``unknown`` or an EPSG code, for files that carry none.
    nodata
        A NoData code that the file does not declare, as its pixels hold it (before scale and offset).
    any_crs
        Take coordinates in degrees or feet as they are; see ``refbench.formats.in_metres``.

    Raises
    ------
    InputError
        A missing or unreadable file, another number of bands than 1, no CRS, one that is not in metres (a local one
        in feet is converted), or a declaration that contradicts the file.
    """
    file = RasterFile(_named(path))
    header = file.header
    where = str(file.path)
    _one_band(file, "a DSM")
    _real(file, "heights")
    band = header.data_bands[0] - 1
    place = georeference(where, header, crs)
    metric = require_map(where, place.crs) if any_crs else require_metric(where, place.crs)
    if place.transform is None:
        raise InputError(
            f"{where} has no geotransform; georeference it first, for example with gdal_translate -a_ullr."
        )
    datum = reconcile_vertical(where, place.vertical or header.tags.get(VERTICAL_TAG), vertical)
    found = [
        ("the band's unit tag", header.units[band]),
        ("its vertical CRS", place.height_unit),
        (f"the vertical datum {datum}", vertical_unit(datum)),
    ]
    if place.local_unit is not None and height_unit is None and not any((text or "").strip() for _, text in found):
        found.append(("its local CRS", place.local_unit))
    notes = place.notes
    if height_unit is None and not any((text or "").strip() for _, text in found) and (of_map := map_unit(metric)):
        found.append(("its CRS", of_map))
        notes = (*notes, f"{where}: its heights name no unit; they are taken to be in that of its CRS.")
    unit = resolve_height_unit(where, height_unit, found)
    if unit != "metre":
        datum = metric_vertical(datum)
    if np.dtype(header.dtypes[band]).itemsize == 1:
        notes = (*notes, f"{where}: integer heights of 256 levels; is it an image rather than a DSM?")
    return DSMFile(file, place.grid(where, header, metric, datum), unit, notes, nodata)


def open_written_dsm(path: Path, grid: Grid | None = None) -> DSMFile:
    """Open a DSM that a job wrote on ``grid`` (None: as the file says); heights are metres, a local frame has no CRS.

    Raises
    ------
    InputError
        A missing or unreadable file, or one without a CRS that has no geotransform either.
    """
    file = RasterFile(path)
    if grid is None:
        place = georeference(str(path), file.header, None)
        if place.crs is not None or place.transform is None:
            return open_dsm(path)
        grid = place.grid(str(path), file.header, None, file.header.tags.get(VERTICAL_TAG) or "unknown")
    return DSMFile(file, grid, "metre", (), None)


def open_image(path: str | Path, *, crs: str | CRS | None = None, in_camera: bool = False) -> ImageFile:
    """Open an image; only its header is read.

    It lies on a grid where the file has a geotransform and ``in_camera`` is False, else in camera pixels.

    Raises
    ------
    InputError
        A missing or unreadable file, complex pixels, or a CRS that contradicts the file's.
    """
    file = RasterFile(_named(path))
    if not file.header.data_bands:
        raise InputError(f"{file.path} has only a transparency band; an image needs at least 1 band of data.")
    _real(file, "images")
    return ImageFile(file, *_place(file, crs, in_camera))


def open_mask(
    path: str | Path, *, name: str | None = None, crs: str | CRS | None = None, in_camera: bool = False
) -> MaskFile:
    """Open a mask; only its header is read. ``name`` defaults to the file's stem.

    Raises
    ------
    InputError
        A missing or unreadable file, another number of bands than 1, or a CRS that contradicts the file's.
    """
    file = RasterFile(_named(path))
    _one_band(file, "a mask")
    _real(file, "masks")
    grid, notes = _place(file, crs, in_camera)
    return MaskFile(file, grid, name or file.path.stem, notes)


def _place(file: RasterFile, crs: str | CRS | None, in_camera: bool) -> tuple[Grid | None, tuple[str, ...]]:
    """Return the grid of an image or mask, None in camera pixels, and what the user should know of it."""
    if in_camera or file.header.transform.is_identity:
        return None, ()
    where = str(file.path)
    place = georeference(where, file.header, crs)
    return place.grid(where, file.header, place.crs, "unknown"), place.notes
