"""A raster file behind a source: its header read once, its pixels by window, safe between threads and forks."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from refbench.contracts.errors import InputError, MissingFileError
from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

SCAN_PIXELS = 4 << 20
CACHE_BYTES = 128 << 20


def limited_cache() -> Any:  # noqa: ANN401  # rasterio carries no types
    """Return a rasterio environment whose block cache is small; the user's ``GDAL_CACHEMAX`` goes first.

    GDAL would take 5 % of the machine's memory, which no memory budget of a run knows of.
    """
    return rasterio.Env() if "GDAL_CACHEMAX" in os.environ else rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES)


@dataclass(frozen=True, slots=True)
class RasterHeader:
    """What a raster file says before any pixel is read; per-band tuples have one entry a band."""

    width: int
    height: int
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    units: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    names: tuple[str, ...]
    alpha: int | None
    """Number (from 1) of the band that is transparency rather than data."""
    has_mask: bool
    """Whether a mask band of the file, not a NoData code, says which pixels count."""
    transform: Affine
    crs: CRS | None
    tags: dict[str, str]
    rpcs: dict[str, str] | None
    block_rows: int

    @property
    def data_bands(self) -> list[int]:
        """Numbers (from 1) of all bands but transparency."""
        return [band for band in range(1, len(self.dtypes) + 1) if band != self.alpha]


def _read_header(dataset: Any) -> RasterHeader:  # noqa: ANN401  # rasterio carries no types
    colours = dataset.colorinterp
    alpha = next((i for i, c in enumerate(colours, 1) if c is ColorInterp.alpha), None)
    flags = dataset.mask_flag_enums[0]
    rpcs = dataset.rpcs
    return RasterHeader(
        dataset.width, dataset.height, tuple(dataset.dtypes), tuple(dataset.nodatavals), tuple(dataset.units),
        tuple(dataset.scales), tuple(dataset.offsets), tuple(name or "" for name in dataset.descriptions), alpha,
        MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags, dataset.transform, dataset.crs,
        dict(dataset.tags()), None if rpcs is None else dict(rpcs.to_gdal()), int(dataset.block_shapes[0][0]),
    )  # fmt: skip


class RasterFile:
    """Reads windows of one raster file through a handle that is opened on first use and not shared by processes."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises
        ------
        MissingFileError
            There is no such file.
        InputError
            It is no raster, or damaged.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise MissingFileError(f"There is no file {self.path}.")
        self._lock = threading.Lock()
        self._dataset: Any = None
        self._owner = 0
        self.header = _read_header(self._handle())

    def _handle(self) -> Any:  # noqa: ANN401  # rasterio carries no types
        if self._dataset is None or self._owner != os.getpid():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", NotGeoreferencedWarning)
                    self._dataset = rasterio.open(self.path)
            except (RasterioError, OSError) as error:
                raise InputError(f"{self.path} cannot be read as a raster: {_reason(error)}.") from error
            self._owner = os.getpid()
        return self._dataset

    def read(self, bands: list[int], window: Window) -> NDArray[Any]:
        """Return raw pixels [bands, rows, cols] of a window inside the raster, in the file's own type."""
        box = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        with self._lock, limited_cache():
            try:
                return np.asarray(self._handle().read(bands, window=box))
            except (RasterioError, OSError) as error:
                raise InputError(f"{self.path} cannot be read; it may be cut off: {_reason(error)}.") from error

    def read_mask(self, window: Window) -> NDArray[np.bool_]:
        """Return where the file's mask band marks data, bool [rows, cols], of a window inside the raster."""
        box = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        with self._lock, limited_cache():
            return np.asarray(self._handle().dataset_mask(window=box) != 0)

    def strips(self) -> list[Window]:
        """Return windows over whole rows that cover the raster once, each of a few million pixels."""
        header = self.header
        rows = max(1, SCAN_PIXELS // header.width)
        rows = max(header.block_rows, rows - rows % header.block_rows)
        starts = range(0, header.height, rows)
        return [Window(0, row, header.width, min(rows, header.height - row)) for row in starts]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the handle and its lock behind."""
        return {"path": self.path, "header": self.header}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open anew on first use."""
        self.path, self.header = state["path"], state["header"]
        self._lock, self._dataset, self._owner = threading.Lock(), None, 0


def _reason(error: BaseException) -> str:
    """Return the deepest cause of a rasterio error on one line, without its full stop."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")


def equals_code(values: NDArray[Any], code: float | None) -> NDArray[np.bool_] | None:
    """Return where ``values`` equal a NoData code compared in their own type; None where no value can.

    A code that the type cannot hold (−9999 in a byte) marks nothing. NaN is left to the caller.
    """
    if code is None or np.isnan(code):
        return None
    if values.dtype.kind in "iub":
        limits = np.iinfo(np.uint8 if values.dtype.kind == "b" else values.dtype)
        if not float(code).is_integer() or not limits.min <= int(code) <= limits.max:
            return None
        return np.asarray(values == values.dtype.type(int(code)))
    with np.errstate(over="ignore"):
        return np.asarray(values == values.dtype.type(code))


def padded(inside: NDArray[Any], window: Window, part: Window, fill: float) -> NDArray[Any]:
    """Return ``inside`` [..., rows, cols], the pixels of ``part``, placed in ``window`` with ``fill`` around it."""
    if part == window:
        return inside
    out = np.full((*inside.shape[:-2], window.height, window.width), fill, inside.dtype)
    rows, cols = part.shifted(-window.col_off, -window.row_off).slices
    out[..., rows, cols] = inside
    return out
