"""Finding the points of a rectangle: a tile index over arrays in memory or sorted on disk."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds
from refbench.contracts.points import PointCloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from numpy.typing import NDArray

POINTS_PER_TILE = 16_384

Arrays = dict[str, "NDArray[Any]"]
"""``xyz`` float64 [N, 3] and any of ``colour`` [N, 3], ``intensity`` [N], ``classes`` uint8 [N]."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles over the points' rectangle; what lies outside counts to the nearest tile."""

    west: float
    south: float
    size: float
    cols: int
    rows: int

    @classmethod
    def over(cls, bounds: Bounds, count: int) -> TileGrid:
        """Return tiles that hold ``POINTS_PER_TILE`` points on average."""
        width, height = bounds.east - bounds.west, bounds.north - bounds.south
        tiles = max(1, math.ceil(count / POINTS_PER_TILE))
        size = max(math.sqrt(width * height / tiles), max(width, height) / 4096, 1e-9)
        return cls(bounds.west, bounds.south, size, int(width // size) + 1, int(height // size) + 1)

    def ids(self, xyz: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the tile of every point, int64 [N]."""
        cols = np.clip((xyz[:, 0] - self.west) // self.size, 0, self.cols - 1).astype(np.int64)
        rows = np.clip((xyz[:, 1] - self.south) // self.size, 0, self.rows - 1).astype(np.int64)
        return rows * self.cols + cols

    def ranges(self, bounds: Bounds) -> Iterable[tuple[int, int]]:
        """Yield (first, stop) tile ids of every row of tiles that ``bounds`` touches."""
        corners = np.array([[bounds.west, bounds.south, 0.0], [bounds.east, bounds.north, 0.0]])
        low, high = (divmod(int(i), self.cols) for i in self.ids(corners))
        for row in range(low[0], high[0] + 1):
            yield row * self.cols + low[1], row * self.cols + high[1] + 1


def inside(xyz: NDArray[np.float64], bounds: Bounds) -> NDArray[np.bool_]:
    """Return which points lie in ``[west, east) x [south, north)``, bool [N]."""
    x, y = xyz[:, 0], xyz[:, 1]
    return np.asarray((x >= bounds.west) & (x < bounds.east) & (y >= bounds.south) & (y < bounds.north))


def bounds_of(xyz: NDArray[np.float64]) -> Bounds:
    """Return the rectangle around points; its open sides lie just beyond the outermost ones.

    ``xyz`` is [n, 3], metres in the cloud's CRS.
    """
    if not len(xyz):
        raise InputError("A point cloud without points has no bounds.")
    low, high = xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0)
    return just_beyond(Bounds(float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def just_beyond(bounds: Bounds) -> Bounds:
    """Return ``bounds`` with its open sides moved up by the least amount, so that it holds the outermost points."""
    east, north = math.nextafter(bounds.east, math.inf), math.nextafter(bounds.north, math.inf)
    return Bounds(bounds.west, bounds.south, east, north)


class HeldIndex:
    """An index over a cloud in memory: tile-sorted point numbers, points returned in their own order."""

    def __init__(self, cloud: PointCloud, bounds: Bounds) -> None:
        """Sort the point numbers by tile."""
        self._cloud = cloud
        self._tiles = TileGrid.over(bounds, len(cloud))
        ids = self._tiles.ids(cloud.xyz)
        self._order = np.argsort(ids, kind="stable")
        self._starts = _starts(np.bincount(ids, minlength=self._tiles.rows * self._tiles.cols))

    def read(self, bounds: Bounds) -> PointCloud:
        """Return the points in ``bounds``."""
        runs = [self._order[self._starts[a] : self._starts[b]] for a, b in self._tiles.ranges(bounds)]
        numbers = np.sort(np.concatenate(runs))
        numbers = numbers[inside(self._cloud.xyz[numbers], bounds)]
        cloud = self._cloud
        parts = {n: None if (a := getattr(cloud, n)) is None else a[numbers] for n in _ATTRIBUTES}
        return PointCloud(cloud.xyz[numbers], cloud.crs, cloud.vertical, **parts)


_ATTRIBUTES = ("colour", "intensity", "classes")


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


class DiskIndex:
    """A cloud sorted by tile into memory-mapped arrays of a temporary folder; two passes over the chunks build it.

    Memory stays near one chunk; the folder goes with the object.
    """

    def __init__(
        self, chunks: Callable[[], Iterable[Arrays]], bounds: Bounds, count: int, scratch: Path | None = None
    ) -> None:
        """Build the index of ``count`` points or more at most; raises ``InputError`` where the disk is full."""
        self._tiles = TileGrid.over(bounds, count)
        counts = np.zeros(self._tiles.rows * self._tiles.cols, np.int64)
        for chunk in chunks():
            counts += np.bincount(self._tiles.ids(chunk["xyz"]), minlength=counts.size)
        self._starts = _starts(counts)
        self.count = int(counts.sum())
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="refbench-points-", dir=scratch)
            self._arrays: Arrays = {}
            self._fill(chunks())
        except OSError as error:
            raise InputError(
                f"Cannot sort the point cloud on disk: {error}; give a scratch folder with room."
            ) from error

    def _fill(self, chunks: Iterable[Arrays]) -> None:
        cursor = self._starts[:-1].copy()
        first = 0
        for chunk in chunks:
            number = np.arange(first, first + len(chunk["xyz"]), dtype=np.int64)
            first += len(number)
            ids = self._tiles.ids(chunk["xyz"])
            order = np.argsort(ids, kind="stable")
            ids = ids[order]
            rank = np.arange(len(ids)) - np.searchsorted(ids, ids)  # place among the chunk's points of that tile
            place = cursor[ids] + rank
            cursor += np.bincount(ids, minlength=cursor.size)
            for name, values in {**chunk, "number": number}.items():
                self._target(name, values)[place] = values[order]

    def _target(self, name: str, like: NDArray[Any]) -> NDArray[Any]:
        if name not in self._arrays:
            path = Path(self._folder.name) / f"{name}.npy"
            shape = (self.count, *like.shape[1:])
            self._arrays[name] = np.lib.format.open_memmap(path, "w+", like.dtype, shape)
        return self._arrays[name]

    def read(self, bounds: Bounds) -> Arrays:
        """Return the arrays of the points in ``bounds``, in the order of the file."""
        runs = [slice(int(self._starts[a]), int(self._starts[b])) for a, b in self._tiles.ranges(bounds)]
        found = {name: np.concatenate([array[run] for run in runs]) for name, array in self._arrays.items()}
        keep = np.flatnonzero(inside(found["xyz"], bounds))
        keep = keep[np.argsort(found.pop("number")[keep])]
        return {name: array[keep] for name, array in found.items()}
