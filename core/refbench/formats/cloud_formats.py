"""Point cloud files read in chunks: LAS/LAZ, NPZ, PLY. Headers first, points when asked for."""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from refbench.contracts.errors import InputError, MissingExtraError, MissingFileError
from refbench.contracts.grid import Bounds
from refbench.formats.crs import SplitCRS, parse_crs, split_crs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.formats.cloud_index import Arrays

CHUNK_POINTS = 1_000_000
_NPZ_NAMES = {
    "rgb": "colour", "colour": "colour", "color": "colour", "intensity": "intensity",
    "classes": "classes", "classification": "classes",
}  # fmt: skip
SUFFIXES = (".laz", ".las", ".npz", ".ply")


class CloudReader(ABC):
    """One point cloud file: ``count``, ``bounds`` (None where only reading tells) and ``crs`` from its header."""

    path: Path
    count: int
    bounds: Bounds | None = None
    crs: SplitCRS = SplitCRS(None)

    @abstractmethod
    def chunks(self) -> Iterator[Arrays]:
        """Yield the points as they stand in the file, xyz float64 and maybe not finite."""

    def _damaged(self, error: BaseException | str) -> InputError:
        reason = " ".join(str(error).split()).rstrip(".")
        return InputError(f"{self.path} cannot be read as a point cloud: {reason}.")


def open_reader(path: Path) -> CloudReader:
    """Return the reader of a file by its suffix.

    Raises
    ------
    MissingFileError, InputError
        No such file, an unknown suffix, or a damaged header.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    suffix = path.suffix.lower()
    if suffix in (".laz", ".las"):
        return LasReader(path)
    if suffix == ".npz":
        return NpzReader(path)
    if suffix == ".ply":
        return PlyReader(path)
    raise InputError(f"{path} is no point cloud that refbench reads; it reads {', '.join(SUFFIXES)}.")


class LasReader(CloudReader):
    """LAS and LAZ through laspy."""

    def __init__(self, path: Path) -> None:
        """Read the header and the CRS records."""
        self.path = path
        with self._open() as file:
            header = file.header
            self.count = int(header.point_count)
            self._fields = set(header.point_format.dimension_names)
            box = [float(v) for v in (*header.mins[:2], *header.maxs[:2])]
            self.crs = _crs_of_vlrs([*header.vlrs, *(header.evlrs or ())])
        if self.count and np.isfinite(box).all() and box[0] <= box[2] and box[1] <= box[3]:
            self.bounds = Bounds(*box)

    def _open(self) -> Any:  # noqa: ANN401  # laspy carries no types
        import laspy

        try:
            return laspy.open(self.path)
        except Exception as error:  # laspy lets struct, index and type errors of damaged headers through
            raise self._damaged(error) from error

    def chunks(self) -> Iterator[Arrays]:
        """Yield the points; a file with fewer than its header says raises."""
        seen = 0
        with self._open() as file:
            points = file.chunk_iterator(CHUNK_POINTS)
            while True:
                try:
                    chunk = next(points, None)
                except Exception as error:  # lazrs raises its own class, laspy many
                    raise self._damaged(error) from error
                if chunk is None or not len(chunk):
                    break
                seen += len(chunk)
                yield self._arrays(chunk)
        if seen != self.count:
            raise self._damaged(f"it is cut off after {seen:,} of {self.count:,} points")

    def _arrays(self, chunk: Any) -> Arrays:  # noqa: ANN401  # laspy carries no types
        axes = [np.asarray(getattr(chunk, axis), np.float64) for axis in "xyz"]
        arrays: Arrays = {"xyz": np.stack(axes, axis=1)}
        if {"red", "green", "blue"} <= self._fields:
            arrays["colour"] = np.stack([np.asarray(chunk[c], np.uint16) for c in ("red", "green", "blue")], axis=1)
        arrays["intensity"] = np.asarray(chunk["intensity"], np.uint16)
        arrays["classes"] = np.asarray(chunk["classification"], np.uint8)
        return arrays


def _crs_of_vlrs(records: list[Any]) -> SplitCRS:
    """Return the CRS of the WKT record, else of the GeoTIFF keys, else none."""
    for record in records:
        text = getattr(record, "string", "")
        if record.record_id == 2112 and text.strip("\0 "):
            try:
                return split_crs(CRS.from_wkt(text.strip("\0 ")))
            except CRSError:
                continue
    keys = {
        key.id: key.value_offset
        for record in records
        for key in getattr(record, "geo_keys", ())
        if key.tiff_tag_location == 0
    }
    code = keys.get(3072) or keys.get(2048)  # projected, else geographic
    units = {9001: "metre", 9002: "foot", 9003: "us_survey_foot"}
    up = keys.get(4096)
    vertical = f"EPSG:{up}" if up and 1024 < up < 32767 else None
    horizontal = parse_crs(f"EPSG:{code}", "the LAS file's GeoTIFF keys") if code and code != 32767 else None
    return SplitCRS(horizontal, vertical, units.get(keys.get(4099, 0)))


class NpzReader(CloudReader):
    """NPZ: ``xyz`` int32 with ``scale`` and ``offset``, or ``xyz`` / ``pts`` / ``points`` floats in metres.

    Also ``rgb`` or ``colour``, ``intensity``, ``classes``, and the texts ``crs`` and ``vertical``.
    """

    def __init__(self, path: Path) -> None:
        """Read the array headers and the small arrays."""
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as arrays:
                names = set(arrays.files)
                small = {k: arrays[k] for k in ("scale", "offset", "crs", "vertical", "height_unit") if k in names}
            self._xyz = next((name for name in ("xyz", "pts", "points") if name in names), "")
            if not self._xyz:
                raise InputError(f"{path} holds no array xyz, pts or points, but {', '.join(sorted(names)) or 'none'}.")
            shape, dtype = self._header(self._xyz)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise error if isinstance(error, InputError) else self._damaged(error) from error
        if len(shape) != 2 or shape[1] != 3:
            raise InputError(f"{path}: {self._xyz} must be [N, 3], got shape {shape}.")
        if dtype.kind in "iu" and not {"scale", "offset"} <= set(small):
            raise InputError(f"{path}: {self._xyz} holds integers, so scale and offset must be there as well.")
        self.count = shape[0]
        self._scale = np.asarray(small.get("scale", 1.0), np.float64)
        self._offset = np.asarray(small.get("offset", 0.0), np.float64)
        self._extras = {key: name for key, name in _NPZ_NAMES.items() if key in names}
        horizontal = parse_crs(str(small["crs"]), str(path)) if "crs" in small else None
        vertical = str(small["vertical"]) if "vertical" in small else None
        self.crs = SplitCRS(horizontal, vertical, str(small["height_unit"]) if "height_unit" in small else None)

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
            shape, _, dtype = _npy_header(member)
        return shape, dtype

    def chunks(self) -> Iterator[Arrays]:
        """Yield the points, decompressing as it goes."""
        try:
            parts = {self._xyz: self._rows(self._xyz), **{key: self._rows(key) for key in self._extras}}
            for rows in zip(*parts.values(), strict=True):
                chunk = dict(zip(parts, rows, strict=True))
                raw = chunk.pop(self._xyz)
                xyz = raw.astype(np.float64) * self._scale + self._offset
                yield {"xyz": xyz, **{self._extras[key]: values for key, values in chunk.items()}}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise error if isinstance(error, InputError) else self._damaged(error) from error

    def _rows(self, name: str) -> Iterator[NDArray[Any]]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
            shape, fortran, dtype = _npy_header(member)
            if not shape or shape[0] != self.count:
                raise InputError(f"{self.path}: {name} has shape {shape} for {self.count} points.")
            if dtype.hasobject:
                raise InputError(f"{self.path}: {name} holds Python objects, which are not read.")
            step = self.count if fortran else CHUNK_POINTS
            for first in range(0, self.count, step):
                rows = min(step, self.count - first)
                items = rows * int(np.prod(shape[1:], dtype=np.int64))
                data = member.read(items * dtype.itemsize)
                if len(data) != items * dtype.itemsize:
                    raise self._damaged(f"{name} is cut off")
                values = np.frombuffer(data, dtype)
                yield values.reshape((rows, *shape[1:]), order="F" if fortran else "C")


def _npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:  # noqa: ANN401  # a binary file
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    return shape, fortran, dtype


class PlyReader(CloudReader):
    """PLY through open3d, which keeps its number types."""

    def __init__(self, path: Path) -> None:
        """Read the text header for the number of vertices; open3d is not needed for that."""
        self.path = path
        with path.open("rb") as file:
            if file.readline(16).strip() != b"ply":
                raise self._damaged("it does not start with 'ply'")
            self.count = -1
            while line := file.readline(1024):
                words = line.split()
                if words[:2] == [b"element", b"vertex"] and len(words) == 3 and words[2].isdigit():
                    self.count = int(words[2])
                elif words[:1] == [b"comment"] and len(words) == 3 and words[1] == b"crs":
                    self.crs = SplitCRS(parse_crs(words[2].decode(), str(path)))
                elif words[:1] == [b"end_header"]:
                    break
        if self.count < 0:
            raise self._damaged("its header names no vertices")

    def chunks(self) -> Iterator[Arrays]:
        """Yield all points at once."""
        open3d = import_open3d("reading PLY files")
        cloud = open3d.t.io.read_point_cloud(str(self.path), format="ply")
        if "positions" not in cloud.point or len(cloud.point["positions"]) != self.count:
            raise self._damaged("open3d finds other points than its header promises")
        arrays: Arrays = {"xyz": cloud.point["positions"].numpy().astype(np.float64)}
        if "colors" in cloud.point:
            arrays["colour"] = cloud.point["colors"].numpy()
        for key, name in (("intensity", "intensity"), ("classes", "classes"), ("classification", "classes")):
            if key in cloud.point:
                arrays[name] = cloud.point[key].numpy().reshape(self.count)
        yield arrays


def import_open3d(purpose: str) -> Any:  # noqa: ANN401  # open3d carries no types
    """Return open3d, or raise ``MissingExtraError`` that names the extra."""
    try:
        import open3d
    except ImportError as error:
        raise MissingExtraError(
            f"open3d is needed for {purpose} and cannot be imported ({error}): pip install 'refbench[city]', and "
            "the system library that it lacks, if the reason names one."
        ) from error
    return open3d
