"""A raster file behind a source: its header read once, its pixels by window, safe between threads and forks."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window
from refbench.formats.limits import check_pixels
from refbench.formats.raster_access import FAILURES, open_dataset, raster_env, reason, shown_in

if TYPE_CHECKING:
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

SCAN_PIXELS = 4 << 20
MAX_BANDS = 4096


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
    alphas: tuple[int, ...]
    """Numbers (from 1) of the bands that are transparency rather than data."""
    masked: tuple[bool, ...]
    """Whether GDAL's mask of a band comes from a mask band or from several codes, not from one NoData code alone."""
    transform: Affine
    crs: CRS | None
    tags: dict[str, str]
    rpcs: dict[str, str] | None
    block_rows: int

    @property
    def data_bands(self) -> list[int]:
        """Numbers (from 1) of all bands but transparency."""
        return [band for band in range(1, len(self.dtypes) + 1) if band not in self.alphas]


def _read_header(dataset: Any) -> RasterHeader:  # noqa: ANN401  # rasterio carries no types
    alphas = tuple(i for i, colour in enumerate(dataset.colorinterp, 1) if colour is ColorInterp.alpha)
    masked = tuple(MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags for flags in dataset.mask_flag_enums)
    rpcs = dataset.rpcs
    return RasterHeader(
        dataset.width, dataset.height, tuple(dataset.dtypes), tuple(dataset.nodatavals), tuple(dataset.units),
        tuple(dataset.scales), tuple(dataset.offsets), tuple(name or "" for name in dataset.descriptions), alphas,
        masked, dataset.transform, dataset.crs, dict(dataset.tags()), None if rpcs is None else dict(rpcs.to_gdal()),
        int(dataset.block_shapes[0][0]),
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
            It is no raster that is read here (see ``open_dataset``), damaged, or larger than ``max_pixels``.
        """
        self.path = path
        self._lock = threading.Lock()
        self._dataset: Any = None
        self._owner = 0
        dataset = self._handle()
        check_pixels(f"{self.path} declares", dataset.width, dataset.height)
        if dataset.count > MAX_BANDS:
            raise InputError(f"{self.path} declares {dataset.count:,} bands, more than the limit of {MAX_BANDS:,}.")
        try:
            with raster_env(self.path):
                self.header = _read_header(dataset)
        except (*FAILURES, TypeError, LookupError) as error:
            raise InputError(f"{self.path} has a damaged header: {reason(error)}.") from error
        for scale, offset in zip(self.header.scales, self.header.offsets, strict=True):
            if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
                raise InputError(
                    f"{self.path} declares the scale {scale:g} and the offset {offset:g}, so its values are lost; "
                    "repair them, for example with gdal_edit.py -unsetscale -unsetoffset."
                )

    def _handle(self) -> Any:  # noqa: ANN401  # rasterio carries no types
        if self._dataset is None or self._owner != os.getpid():
            self._dataset = open_dataset(self.path)
            self._owner = os.getpid()
        return self._dataset

    def read(self, bands: list[int], window: Window) -> NDArray[Any]:
        """Return raw pixels [bands, rows, cols] of a window inside the raster, in the file's own type."""
        return self._read("read", bands, window)

    def read_mask(self, bands: list[int], window: Window) -> NDArray[np.bool_]:
        """Return where GDAL's masks of the bands mark data, bool [bands, rows, cols], of a window inside the raster."""
        return np.asarray(self._read("read_masks", bands, window) != 0)

    def _read(self, what: str, bands: list[int], window: Window) -> NDArray[Any]:
        box = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        with self._lock, raster_env(self.path):
            try:
                return np.asarray(getattr(self._handle(), what)(bands, window=box))
            except MemoryError as error:
                size = f"{window.width:,} x {window.height:,} px"
                raise InputError(f"{self.path}: {size} do not fit into memory; crop the raster.") from error
            except InputError:
                raise
            except FAILURES as error:
                said = shown_in(reason(error), self.path)
                raise InputError(f"{self.path} cannot be read; it may be cut off or damaged: {said}.") from error

    def content_hash(self) -> str:
        """Return the SHA-256 of the header's size, place and codes and of all pixels, hexadecimal.

        It stands for the bytes of a file that is not on this disk.
        """
        header = self.header
        place = (header.width, header.height, header.dtypes, header.nodata, tuple(header.transform), str(header.crs))
        digest = hashlib.sha256(repr(place).encode())
        for strip in self.strips():
            digest.update(np.ascontiguousarray(self.read(list(range(1, len(header.dtypes) + 1)), strip)).tobytes())
        return digest.hexdigest()

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


def equals_code(values: NDArray[Any], code: float | None) -> NDArray[np.bool_] | None:
    """Return where ``values`` equal a NoData code compared in their own type; None where no value can.

    A code that the type cannot hold (−9999 in a byte) marks nothing. NaN is left to the caller.
    Bool in the shape of ``values``.
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
