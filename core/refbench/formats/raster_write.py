"""Rasters out: cloud-optimised GeoTIFFs, streamed by window, whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.contracts.grid import Window
from refbench.formats.crs import VERTICAL_TAG, compound_crs, ellipsoidal_wkt, vertical_unit
from refbench.formats.output_nodata import DEFAULT_NODATA, OutputCode, beside
from refbench.formats.raster_access import raster_env

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM, Image, Mask

BLOCK = 512
_FAILURES = (RasterioError, CPLE_BaseError, OSError)


class CogWriter:
    """Streams windows into a temporary tiled GeoTIFF beside ``path``, then makes the COG and renames it.

    Use it as a context manager. Nothing appears at ``path`` before the block ended without an error and the COG was
    read back equal; an older file there survives until then. Memory is bounded by the window and GDAL's cache.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        dtype: str,
        *,
        bands: int = 1,
        grid: Grid | None = None,
        nodata: float | None = None,
        average: bool = True,
        descriptions: tuple[str, ...] = (),
        unit: str | None = None,
        tags: Mapping[str, str] | None = None,
        rpcs: Mapping[str, str] | None = None,
    ) -> None:
        """Say what will be written: ``shape`` (rows, cols), ``average`` or nearest overviews, RPCs in GDAL's spelling.

        Raises
        ------
        InputError
            The folder does not exist or cannot be written to.
        """
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise InputError(f"Cannot write {self.path}: there is no folder {self.path.parent}.")
        self.shape, self.dtype, self.bands, self.grid, self.nodata = shape, np.dtype(dtype), bands, grid, nodata
        self._average, self._descriptions, self._unit = average, descriptions, unit
        self._tags, self._rpcs = dict(tags or {}), dict(rpcs or {})
        self._folder: Path | None = None
        self._dataset: Any = None

    def __enter__(self) -> CogWriter:
        """Create the temporary file."""
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            self._dataset = self._create(self._folder / "tiles.tif")
        except _FAILURES as error:
            self._discard()
            raise self._refusal(error) from error
        return self

    def _create(self, path: Path) -> Any:  # noqa: ANN401  # rasterio carries no types
        rows, cols = self.shape
        where: dict[str, Any] = {}
        if self.grid is not None:
            where = {"transform": self.grid.transform, "crs": compound_crs(self.grid.crs, self.grid.vertical)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(
                path, "w", driver="GTiff", height=rows, width=cols, count=self.bands, dtype=self.dtype.name,
                nodata=self.nodata, tiled=True, blockxsize=BLOCK, blockysize=BLOCK, BIGTIFF="IF_SAFER",
                SPARSE_OK="TRUE", **where,
            )  # fmt: skip
        tags = dict(self._tags)
        if self.grid is not None:
            tags.setdefault(VERTICAL_TAG, self.grid.vertical)
        dataset.update_tags(**tags)
        if self._rpcs:
            dataset.update_tags(ns="RPC", **self._rpcs)
        for band, name in enumerate(self._descriptions, 1):
            dataset.set_band_description(band, name)
        if self._unit:
            dataset.set_band_unit(1, self._unit)
        return dataset

    def write_bands(self, window: Window, values: NDArray[Any]) -> None:
        """Write ``values`` [bands, rows, cols] into a window; what lies past the edge is cropped.

        In the unit of each band.
        """
        if values.shape != (self.bands, window.height, window.width):
            raise GridMismatchError(f"{self.path}: {values.shape} values were given for {window}.")
        rows, cols = self.shape
        part = window.intersection(Window(0, 0, cols, rows))
        if part is None:
            return
        inside = part.shifted(-window.col_off, -window.row_off).slices
        box = RasterioWindow(part.col_off, part.row_off, part.width, part.height)
        try:
            with raster_env():
                self._dataset.write(values[(slice(None), *inside)], window=box)
        except _FAILURES as error:
            raise self._refusal(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or leave nothing behind where the block failed."""
        try:
            if kind is None:
                with raster_env():
                    self._finish()
        except _FAILURES as failure:
            raise self._refusal(failure) from failure
        finally:
            self._discard()

    def _finish(self) -> None:
        assert self._folder is not None  # entered
        tiles, cog = self._folder / "tiles.tif", self._folder / "cog.tif"
        self._dataset.close()
        self._dataset = None
        predictor = "FLOATING_POINT" if self.dtype.kind == "f" else "STANDARD"
        rasterio.shutil.copy(
            self._with_ellipsoid(tiles), cog, driver="COG", BLOCKSIZE=BLOCK, COMPRESS="DEFLATE", PREDICTOR=predictor,
            BIGTIFF="IF_SAFER", OVERVIEW_RESAMPLING="AVERAGE" if self._average else "NEAREST", SPARSE_OK="YES",
        )  # fmt: skip
        # GDAL does not report every failed write, so the file is read back before it replaces anything.
        if not _equal_pixels(tiles, cog):
            raise OSError("the file does not read back as it was written")
        with cog.open("rb") as file:
            os.fsync(file.fileno())
        cog.replace(self.path)

    def _with_ellipsoid(self, tiles: Path) -> Path:
        """Return the tiles, through a VRT that gives them heights above the ellipsoid where the grid has such."""
        wkt = ellipsoidal_wkt(self.grid.crs) if self.grid is not None and self.grid.vertical == "ellipsoid" else None
        if wkt is None:
            return tiles
        # The driver of COGs takes the CRS from its source, and would move what GDAL reads back into a side file.
        vrt = tiles.with_suffix(".vrt")
        rasterio.shutil.copy(tiles, vrt, driver="VRT")
        tree = ElementTree.parse(vrt)
        if (node := tree.getroot().find("SRS")) is None:
            return tiles
        node.attrib.clear()
        node.text = wkt
        tree.write(vrt)
        return vrt

    def _discard(self) -> None:
        if self._dataset is not None:
            with contextlib.suppress(*_FAILURES):  # it is thrown away; a full disk may refuse the last block
                self._dataset.close()
            self._dataset = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _refusal(self, error: BaseException) -> InputError:
        while error.__cause__ is not None:
            error = error.__cause__
        text = " ".join(str(error).split()).rstrip(".")
        free = shutil.disk_usage(self.path.parent).free / 2**20
        return InputError(
            f"Cannot write {self.path}: {text}; {free:,.0f} MiB are free on that disk, and what was there before is "
            "untouched."
        )


def _equal_pixels(first: Path, second: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(first) as a, rasterio.open(second) as b:
            nan = np.dtype(a.dtypes[0]).kind == "f"
            boxes = (box for _, box in a.block_windows(1))
            return all(np.array_equal(a.read(window=box), b.read(window=box), equal_nan=nan) for box in boxes)


class DSMWriter(CogWriter):
    """Streams heights into a COG: float32 metres, 512 px blocks, DEFLATE with the floating-point predictor.

    Windows that are never written hold NoData. ``nodata`` may be NaN, or the input's own code as ``OutputCode``.
    ``tags`` are provenance (method, version,
    hashes); ``AREA_OR_POINT`` among them is honoured. The vertical datum goes into a compound CRS where it is an EPSG
    code, and always into the tag ``REFBENCH_VERTICAL``.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        *,
        nodata: float | OutputCode = DEFAULT_NODATA,
        tags: Mapping[str, str] | None = None,
        description: str = "height",
        unit: str = "metre",
    ) -> None:
        """Say where the DSM will lie; ``unit`` is that of the heights that it will be given.

        Raises
        ------
        InputError
            A missing folder, an infinite NoData code, or a vertical CRS that counts in feet.
        """
        code = nodata if isinstance(nodata, OutputCode) else OutputCode(nodata)
        self._moves, nodata = code.moves_heights, code.value
        if not math.isnan(nodata) and (math.isinf(nodata) or float(np.float32(nodata)) != nodata):
            raise InputError(f"The NoData code {nodata} cannot be held by float32; use -9999 or nan.")
        if vertical_unit(grid.vertical) not in (None, unit):
            raise InputError(f"Heights are written in metres, but the vertical CRS {grid.vertical} is not in metres.")
        super().__init__(
            path, grid.shape, "float32", grid=grid, nodata=nodata, descriptions=(description,),
            unit=unit.replace("_", " "), tags=tags,
        )  # fmt: skip

    def __enter__(self) -> DSMWriter:
        """Create the temporary file."""
        super().__enter__()
        return self

    def write(self, window: Window, heights: NDArray[np.float32]) -> None:
        """Write ``heights`` float32 [rows, cols], NaN where unknown, into a window; what lies outside is cropped.

        Raises
        ------
        InputError
            An infinite height, a height equal to the NoData code, a shape unlike the window's, or a full disk.
        """
        if heights.shape != (window.height, window.width):
            raise GridMismatchError(f"{self.path}: {heights.shape} heights were given for {window}.")
        if np.isinf(heights).any():
            raise InputError(f"{self.path}: heights must be finite or NaN.")
        assert self.nodata is not None  # always given by __init__
        if not math.isnan(self.nodata):
            equal = heights == np.float32(self.nodata)
            if self._moves:
                heights = np.where(equal, beside(self.nodata), heights)
            elif equal.any():
                raise InputError(f"{self.path}: a height equals the NoData code {self.nodata}; choose another one.")
        known = np.isfinite(heights)
        for part in _held_blocks(known):  # blocks without a height are not stored
            values = heights[:, part] if math.isnan(self.nodata) else self._with_code(heights[:, part], known[:, part])
            box = Window(window.col_off + part.start, window.row_off, part.stop - part.start, window.height)
            self.write_bands(box, np.asarray(values, np.float32)[None])

    def _with_code(self, heights: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
        assert self.nodata is not None  # always given by __init__
        return np.where(known, heights, np.float32(self.nodata))


def _held_blocks(known: NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the columns of runs of blocks that hold a height, of [rows, cols]."""
    held = [bool(known[:, start : start + BLOCK].any()) for start in range(0, known.shape[1], BLOCK)]
    start = 0
    for number, is_held in enumerate((*held, False)):
        if is_held:
            continue
        if number > start:
            yield slice(start * BLOCK, min(number * BLOCK, known.shape[1]))
        start = number + 1


def provenance_path(path: str | Path) -> Path:
    """Return where ``write_dsm`` puts the provenance raster of a DSM: ``<stem>_provenance.tif`` beside it."""
    path = Path(path)
    return path.with_name(f"{path.stem}_provenance.tif")


def write_dsm(
    path: str | Path,
    dsm: DSM,
    *,
    nodata: float | OutputCode = DEFAULT_NODATA,
    tags: Mapping[str, str] | None = None,
    provenance: NDArray[np.uint8] | None = None,
) -> None:
    """Write a DSM as a COG; see ``DSMWriter``.

    ``provenance`` uint8 [rows, cols] (0 none, 1 measured, 3 interpolated) goes into a second COG beside it, because a
    GeoTIFF holds one pixel type and a DSM one band.
    """
    if provenance is not None and provenance.shape != dsm.grid.shape:
        raise GridMismatchError(f"Provenance has shape {provenance.shape}, the DSM {dsm.grid.shape}.")
    with DSMWriter(path, dsm.grid, nodata=nodata, tags=tags) as writer:
        writer.write(dsm.grid.full_window, dsm.heights)
    if provenance is not None:
        write_band(provenance_path(path), provenance, dsm.grid, "provenance", tags=tags)


def write_band(
    path: str | Path,
    values: NDArray[Any],
    grid: Grid | None,
    description: str,
    *,
    nodata: float | None = None,
    average: bool = False,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write one band [rows, cols] of any raster type as a COG (confidence, provenance, depth in camera pixels)."""
    rows, cols = values.shape
    options: dict[str, Any] = {"grid": grid, "nodata": nodata, "average": average, "tags": tags}
    with CogWriter(path, (rows, cols), values.dtype.name, descriptions=(description,), **options) as writer:
        writer.write_bands(Window(0, 0, cols, rows), values[None])


def write_image(
    path: str | Path, image: Image, *, rpcs: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
) -> None:
    """Write an image as a COG, with RPC metadata in GDAL's spelling where it has one.

    Where the image has invalid pixels they are written as NoData: NaN for floats, 0 for integers (a valid 0 becomes
    1 there).
    """
    pixels, nodata = image.pixels, None
    if image.valid is not None and not image.valid.all():
        floats = pixels.dtype.kind == "f"
        nodata = math.nan if floats else 0.0
        kept = pixels if floats else np.maximum(pixels, pixels.dtype.type(1))
        pixels = np.where(image.valid, kept, pixels.dtype.type(nodata))
    options: dict[str, Any] = {"grid": image.grid, "nodata": nodata, "rpcs": rpcs, "tags": tags}
    rows, cols = image.shape
    names = image.band_names
    with CogWriter(
        path, (rows, cols), pixels.dtype.name, bands=pixels.shape[0], descriptions=names, **options
    ) as writer:
        writer.write_bands(Window(0, 0, cols, rows), pixels)


def write_mask(path: str | Path, mask: Mask, *, tags: Mapping[str, str] | None = None) -> None:
    """Write a mask as a byte COG: 1 = class, 0 = not, 255 = unknown, overviews by nearest."""
    write_band(path, mask.values, mask.grid, mask.name, nodata=255, tags=tags)
