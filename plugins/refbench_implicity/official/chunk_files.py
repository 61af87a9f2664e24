"""Official chunk folders: read on demand, memory-mapped where the file allows it, cropped through a grid index.

Letters: N points of a chunk. Coordinates are world metres, float64.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from refbench.contracts.errors import InputError, MissingFileError
from refbench.files.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK_INFO = "chunk_info.yaml"
POINT_FILE = "input_point_cloud.npz"
MASKS = ("gt", "building", "forest", "water")


def read_member(path: Path, name: str) -> NDArray[Any]:
    """Return array ``name`` of an ``.npz``: a read-only memory map where it is stored uncompressed, else the array.

    Of the shape and the float or int type that are stored.

    Raises
    ------
    InputError
        The file is missing, is no ``.npz`` or lacks the array; objects inside are refused.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; an official chunk folder holds it.")
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as stream:
                if info.compress_type != zipfile.ZIP_STORED:
                    return np.lib.format.read_array(stream, allow_pickle=False)
                version = np.lib.format.read_magic(stream)
                reader = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = reader(stream)
                header = stream.tell()
    except KeyError:
        raise InputError(f"{path} holds no array {name!r}.") from None
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as .npz: {error}.") from None
    if dtype.hasobject:
        raise InputError(f"{path} holds Python objects in {name!r}; only plain arrays are read.")
    if 0 in shape:
        return np.empty(shape, dtype)
    with path.open("rb") as raw:
        raw.seek(info.header_offset)
        local = raw.read(30)  # the local header's own name and extra lengths may differ from the directory's
    offset = info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return np.memmap(path, dtype, "r", offset + header, tuple(shape), "F" if fortran else "C")


class PlanarIndex:
    """A grid over x and y of N points that finds those inside a rectangle without looking at all of them."""

    def __init__(self, xyz: NDArray[np.float64], cell: float) -> None:
        """Index ``xyz`` [N, 3] by squares of ``cell`` metres."""
        self.xyz, self.cell = xyz, cell
        self.low = np.asarray(xyz[:, :2].min(axis=0) if len(xyz) else np.zeros(2))
        cells = ((xyz[:, :2] - self.low) // cell).astype(np.int64)
        self.size = cells.max(axis=0) + 1 if len(xyz) else np.zeros(2, np.int64)
        flat = cells[:, 1] * self.size[0] + cells[:, 0]
        self.order = np.argsort(flat, kind="stable")
        self.first = np.searchsorted(flat[self.order], np.arange(int(np.prod(self.size)) + 1))

    def inside(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the indices of the points with low < (x, y) < high, strictly, in their original order.

        Int64 [n]; the limits are [2], metres.
        """
        if not len(self.xyz):
            return np.empty(0, np.int64)
        start = np.maximum(((low - self.low) // self.cell).astype(np.int64), 0)
        stop = np.minimum(((high - self.low) // self.cell).astype(np.int64) + 1, self.size)
        if (stop <= start).any():
            return np.empty(0, np.int64)
        rows = np.arange(start[1], stop[1]) * self.size[0]
        near = np.sort(
            np.concatenate([self.order[self.first[r + start[0]] : self.first[r + stop[0]]] for r in rows.tolist()])
        )
        xy = self.xyz[near, :2]
        return near[((xy > low) & (xy < high)).all(axis=1)]


@dataclass(frozen=True)
class Chunk:
    """One chunk: its number, folder, and its rectangle ``low`` to ``high`` [2] in world metres."""

    number: int
    name: str
    folder: Path
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    index_cell: float

    @cached_property
    def points(self) -> PlanarIndex:
        """The input point cloud."""
        return PlanarIndex(_finite_points(self.folder / POINT_FILE), self.index_cell)

    def queries(self, kinds: Sequence[str]) -> Queries:
        """Return the query points of ``kinds``, concatenated in that order."""
        files = [self.folder / f"query--{kind}.npz" for kind in kinds]
        points = np.concatenate([_finite_points(file) for file in files])
        labels = np.concatenate([read_member(file, "occ") for file in files])
        masks = {m: np.concatenate([read_member(file, f"mask_{m}") for file in files]).astype(bool) for m in MASKS}
        return Queries(PlanarIndex(points, self.index_cell), labels, masks)


@dataclass(frozen=True)
class Queries:
    """Query points of a chunk with ``labels`` {0, 1, 2} [N] and bool masks [N] by name."""

    points: PlanarIndex
    labels: NDArray[np.int64]
    masks: dict[str, NDArray[np.bool_]]


def _finite_points(path: Path) -> NDArray[np.float64]:
    points = read_member(path, "pts")
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"{path}: 'pts' must be [N, 3], got {points.shape}.")
    return points.astype(np.float64, copy=False)


def read_chunks(folder: Path, numbers: Sequence[int], index_cell: float = 16.0) -> list[Chunk]:
    """Return the chunks ``numbers`` of a data set folder, in that order.

    Raises
    ------
    InputError
        ``chunk_info.yaml`` is missing, is no such file or has no chunk of that number.
    """
    path = folder / CHUNK_INFO
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; dataset.path must be a folder with {CHUNK_INFO}.")
    try:
        info = parse_yaml(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML file: {error}.") from None
    chunks = []
    for number in numbers:
        if not isinstance(info, dict) or number not in info:
            known = ", ".join(map(str, info)) if isinstance(info, dict) else "none"
            raise InputError(f"{path} has no chunk {number}; it has {known}.")
        entry = info[number]
        low, high = (np.asarray(entry[key][:2], np.float64) for key in ("min_bound", "max_bound"))
        chunks.append(Chunk(int(number), str(entry["name"]), folder / str(entry["name"]), low, high, index_cell))
    return chunks


class OrthoFiles:
    """Up to two ortho images of one grid, read by window: band 1, scaled by one mean and one standard deviation."""

    def __init__(self, paths: Sequence[Path], mean: float, std: float) -> None:
        """Open lazily; a file handle belongs to the process that made it."""
        if not 1 <= len(paths) <= 2:
            raise InputError(f"satellite_image.pairs must name 1 or 2 files, got {len(paths)}.")
        self.paths, self.mean, self.std = tuple(paths), mean, std
        self._handles: tuple[int, list[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind when a loader's worker gets a copy."""
        return {**self.__dict__, "_handles": None}

    def _open(self) -> list[Any]:
        import os

        from refbench.formats.raster_access import open_dataset

        if self._handles is None or self._handles[0] != os.getpid():
            try:
                handles = [open_dataset(path) for path in self.paths]
            except InputError as error:
                raise MissingFileError(f"An ortho image cannot be read: {error}") from None
            if any(handle.transform != handles[0].transform for handle in handles):
                raise InputError(f"The ortho images {', '.join(map(str, self.paths))} have different transforms.")
            self._handles = os.getpid(), handles
        return self._handles[1]

    @property
    def pixel(self) -> NDArray[np.float64]:
        """Pixel size (x, y) in metres. Float64 [2]."""
        transform = self._open()[0].transform
        return np.array([transform.a, -transform.e])

    def patch(self, anchor: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return float32 [images, rows, cols] north-up over the patch whose south-west corner is ``anchor``.

        Raises
        ------
        InputError
            The patch is no whole number of pixels or reaches past the images.
        """
        handles, pixel = self._open(), self.pixel
        exact = size / pixel
        cols, rows = (round(float(v)) for v in exact)
        if np.abs(exact - (cols, rows)).max() > 1e-6:
            raise InputError(f"patch_size {size.tolist()} m is no whole number of image pixels of {pixel.tolist()} m.")
        inverse = ~handles[0].transform
        centre = anchor + pixel / 2
        col = int(np.floor(inverse.a * centre[0] + inverse.b * centre[1] + inverse.c))
        bottom = int(np.floor(inverse.d * centre[0] + inverse.e * centre[1] + inverse.f))
        top = bottom - rows + 1
        height, width = handles[0].shape
        if col < 0 or top < 0 or col + cols > width or bottom >= height:
            raise InputError(f"The patch at {anchor.tolist()} reaches past the ortho images {self.paths[0]}.")
        from rasterio.windows import Window

        window = Window(col, top, cols, rows)
        bands = np.stack([handle.read(1, window=window) for handle in handles]).astype(np.int32)
        return ((bands.astype(np.float64) - self.mean) / self.std).astype(np.float32)
