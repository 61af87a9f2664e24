"""NPZ point clouds, read member by member: sizes are checked before anything of that size is held."""

from __future__ import annotations

import contextlib
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.formats import cloud_reader
from refbench.formats.cloud_reader import CloudReader
from refbench.formats.crs import SplitCRS, parse_crs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.formats.cloud_index import Arrays

_EXTRAS = {
    "rgb": "colour", "colour": "colour", "color": "colour", "intensity": "intensity",
    "classes": "classes", "classification": "classes",
}  # fmt: skip
_SMALL = ("scale", "offset", "crs", "vertical", "height_unit")
SMALL_BYTES = 1 << 16
WHOLE_BYTES = 1 << 30
"""Largest array in Fortran order, which cannot be read by rows."""
DEFLATE_RATIO = 1032
"""Deflate cannot shrink anything further."""


class NpzReader(CloudReader):
    """NPZ: ``xyz`` int32 with ``scale`` and ``offset``, or ``xyz`` / ``pts`` / ``points`` floats in metres.

    Also ``rgb`` or ``colour``, ``intensity``, ``classes``, and the texts ``crs`` and ``vertical``.
    """

    def __init__(self, path: Path) -> None:
        """Read the array headers and the small arrays."""
        self.path = path
        with self._edge(), zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
            small = {name: self._small(archive, name) for name in _SMALL if name in names}
            self._xyz = next((name for name in ("xyz", "pts", "points") if name in names), "")
            if not self._xyz:
                listed = ", ".join(sorted(names)[:20]) or "none"
                raise InputError(f"{path} holds no array xyz, pts or points, but {listed}.")
            with archive.open(f"{self._xyz}.npy") as member:
                shape, _, dtype = self._header(archive, member, self._xyz)
        if len(shape) != 2 or shape[1] != 3:
            raise InputError(f"{path}: {self._xyz} must be [N, 3], got shape {shape}.")
        if dtype.kind in "iu" and not {"scale", "offset"} <= set(small):
            raise InputError(f"{path}: {self._xyz} holds integers, so scale and offset must be there as well.")
        self.count = shape[0]
        self._scale = self._factors(small, "scale", 1.0)
        self._offset = self._factors(small, "offset", 0.0)
        self._extras = _one_each({key: name for key, name in _EXTRAS.items() if key in names})
        horizontal = parse_crs(_text(small["crs"]), str(path)) if "crs" in small else None
        vertical = _text(small["vertical"]) if "vertical" in small else None
        self.crs = SplitCRS(horizontal, vertical, _text(small["height_unit"]) if "height_unit" in small else None)

    @contextlib.contextmanager
    def _edge(self) -> Iterator[None]:
        """Turn what zipfile, zlib, lzma and numpy raise on damaged archives into one sentence."""
        try:
            yield
        except (InputError, GeneratorExit):
            raise
        except KeyError as error:
            raise self._damaged("it lacks one of its members") from error
        except Exception as error:
            raise self._damaged(error) from error

    def _factors(self, small: dict[str, NDArray[Any]], name: str, default: float) -> NDArray[np.float64]:
        """Return ``scale`` or ``offset``, one number or one for each axis."""
        try:
            values = np.asarray(small.get(name, default), np.float64)
        except (ValueError, TypeError):
            values = np.full(1, np.nan)
        if values.size not in (1, 3) or not np.isfinite(values).all() or (name == "scale" and not values.all()):
            raise InputError(f"{self.path}: {name} must be 1 or 3 finite numbers{', not 0' * (name == 'scale')}.")
        return values.reshape(-1)

    def _small(self, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
        if archive.getinfo(f"{name}.npy").file_size > SMALL_BYTES:
            raise InputError(f"{self.path}: {name} is larger than {SMALL_BYTES:,} bytes.")
        with archive.open(f"{name}.npy") as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))

    def _header(self, archive: zipfile.ZipFile, member: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:  # noqa: ANN401  # a binary file
        """Return shape, Fortran order and type of an array whose size agrees with that of its member."""
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        if dtype.hasobject:
            raise InputError(f"{self.path}: {name} holds Python objects, which are not read.")
        if dtype.kind not in "iuf":
            raise InputError(f"{self.path}: {name} must hold numbers, got {dtype}.")
        info = archive.getinfo(f"{name}.npy")
        needed = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or needed > info.file_size:
            raise self._damaged(f"{name} of shape {shape} is cut off, its member holds {info.file_size:,} bytes")
        if info.compress_type == zipfile.ZIP_DEFLATED and info.file_size > DEFLATE_RATIO * (info.compress_size + 64):
            raise self._damaged(f"{name} cannot unpack to {info.file_size:,} bytes from {info.compress_size:,}")
        if info.compress_size > self.path.stat().st_size:
            raise self._damaged(f"{name} is larger than the file")
        if fortran and needed > WHOLE_BYTES:
            raise InputError(f"{self.path}: {name} is in Fortran order and above 1 GiB; save it in C order.")
        return shape, fortran, dtype

    def chunks(self) -> Iterator[Arrays]:
        """Yield the points, decompressing as it goes."""
        parts = {self._xyz: self._rows(self._xyz), **{key: self._rows(key) for key in self._extras}}
        while True:
            with self._edge():
                chunk = {key: next(rows, None) for key, rows in parts.items()}
            raw = chunk.pop(self._xyz)
            if raw is None:
                return
            with np.errstate(all="ignore"):  # values beyond float32 become infinite and are dropped
                xyz = raw.astype(np.float64) * self._scale + self._offset
            extras = {self._extras[key]: values for key, values in chunk.items() if values is not None}
            if "classes" in extras:
                extras["classes"] = _as_classes(extras["classes"])
            yield {"xyz": xyz, **extras}

    def _rows(self, name: str) -> Iterator[NDArray[Any]]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
            shape, fortran, dtype = self._header(archive, member, name)
            wanted = (self.count, 3) if _EXTRAS.get(name, name) in ("colour", self._xyz) else (self.count,)
            if shape not in (wanted, (*wanted, 1)):
                raise InputError(f"{self.path}: {name} has shape {shape} for {self.count} points.")
            step = self.count if fortran else cloud_reader.CHUNK_POINTS
            for first in range(0, self.count, step):
                rows = min(step, self.count - first)
                length = rows * math.prod(shape[1:]) * dtype.itemsize
                data = member.read(length)
                if len(data) != length:
                    raise self._damaged(f"{name} is cut off")
                values = np.frombuffer(data, dtype).reshape((rows, *shape[1:]), order="F" if fortran else "C")
                yield values.reshape((rows, *wanted[1:]))


def _one_each(extras: dict[str, str]) -> dict[str, str]:
    """Keep the first array of every kind where a file holds ``rgb`` and ``colour``."""
    first = {kind: key for key, kind in reversed(extras.items())}
    return {key: kind for kind, key in first.items()}


def _text(value: NDArray[Any]) -> str:
    item = value.reshape(-1)[0] if value.size else ""
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def _as_classes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return classes as bytes; what is no LAS code becomes 0, "never classified"."""
    known = (values >= 0) & (values <= 255)
    return np.where(known, values, 0).astype(np.uint8)
