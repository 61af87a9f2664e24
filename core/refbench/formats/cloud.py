"""Point clouds as sources: opened by header, read whole or by rectangle, within a memory budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.points import PointCloud
from refbench.formats.cloud_formats import open_reader
from refbench.formats.cloud_index import DiskIndex, HeldIndex, bounds_of, just_beyond
from refbench.formats.cloud_write import write_points
from refbench.formats.crs import (
    metric_vertical,
    parse_crs,
    reconcile_crs,
    reconcile_vertical,
    require_metric,
    vertical_unit,
)
from refbench.formats.units import METRES_PER_UNIT, conversion_warning, resolve_height_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasterio.crs import CRS

    from refbench.contracts.grid import Bounds
    from refbench.formats.cloud_formats import CloudReader
    from refbench.formats.cloud_index import Arrays

__all__ = ["HeldPoints", "PointFile", "open_points", "read_points", "write_points"]

BUDGET_BYTES = 1 << 30
BYTES_PER_POINT = 64  # float64 xyz, colour, intensity, class, point number, a temporary copy of xyz
LARGEST = 1e30


class HeldPoints:
    """A point cloud in memory as a source; rectangles are found through a tile index made on first use."""

    def __init__(self, cloud: PointCloud) -> None:
        """Hold ``cloud``."""
        self.cloud = cloud
        self._index: HeldIndex | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Nothing: it lives in memory."""
        return ()

    @property
    def crs(self) -> CRS | None:
        """The CRS of the points."""
        return self.cloud.crs

    @property
    def vertical(self) -> str:
        """The vertical datum of the points."""
        return self.cloud.vertical

    def bounds(self) -> Bounds:
        """Return the rectangle around all points; it holds the outermost ones although its far sides are open."""
        return bounds_of(self.cloud.xyz)

    def count(self) -> int:
        """Return the number of points."""
        return len(self.cloud)

    def read(self, bounds: Bounds | None = None) -> PointCloud:
        """Return all points, or those with west <= x < east and south <= y < north, in their order."""
        if bounds is None or not len(self.cloud):
            return self.cloud
        if self._index is None:
            self._index = HeldIndex(self.cloud, self.bounds())
        return self._index.read(bounds)


class PointFile:
    """A point cloud file as a source.

    Small clouds are held after the first read. Clouds above the budget are sorted once, by tile, into a temporary
    folder and read from there. Both return the points in the order of the file.
    """

    def __init__(
        self, reader: CloudReader, crs: CRS | None, vertical: str, unit: str, budget_bytes: int, scratch: Path | None
    ) -> None:
        """Take a checked reader; ``unit`` is that of the heights."""
        self._reader = reader
        self.crs, self.vertical = crs, vertical
        self._unit, self._budget, self._scratch = unit, budget_bytes, scratch
        self._store: HeldPoints | DiskIndex | None = None
        self._dropped: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._reader.path,)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user; dropped points are known after the first read."""
        notes = [] if self._unit == "metre" else [conversion_warning(str(self._reader.path), self._unit)]
        if self._dropped:
            notes.append(
                f"{self._reader.path}: {self._dropped:,} of {self._reader.count:,} points are not finite or beyond "
                "1e30; they were dropped."
            )
        return tuple(notes)

    def bounds(self) -> Bounds:
        """Return the rectangle around all points: from the header where it has one, else by reading."""
        if self._reader.bounds is not None:
            return just_beyond(self._reader.bounds)
        if isinstance(self._store, HeldPoints) or self._reader.count * BYTES_PER_POINT <= self._budget:
            return self._held().bounds()
        return self._bounds_by_chunks()

    def count(self) -> int:
        """Return the number of points; those dropped are not counted once a read has found them."""
        return self._reader.count - (self._dropped or 0)

    def read(self, bounds: Bounds | None = None) -> PointCloud:
        """Return all points, or those with west <= x < east and south <= y < north, in the order of the file.

        Raises
        ------
        InputError
            The file is damaged, or holds fewer than two finite points.
        """
        if self._reader.count * BYTES_PER_POINT <= self._budget:
            return self._held().read(bounds)
        if bounds is None:
            return self._gather(self._chunks())
        return self._cloud(self._sorted().read(bounds))

    def check(self) -> None:
        """Read the file once, so that damage and dropped points are known; a small cloud is held from then on."""
        if self._reader.count * BYTES_PER_POINT <= self._budget:
            self._held()
        elif self._dropped is None:
            for _ in self._chunks():
                pass

    def _held(self) -> HeldPoints:
        if not isinstance(self._store, HeldPoints):
            self._store = HeldPoints(self._gather(self._chunks()))
        return self._store

    def _sorted(self) -> DiskIndex:
        if not isinstance(self._store, DiskIndex):
            self._store = DiskIndex(self._chunks, self.bounds(), self._reader.count, self._scratch)
        return self._store

    def _chunks(self) -> Iterator[Arrays]:
        """Yield clean chunks: finite points, heights in metres."""
        kept = 0
        for chunk in self._reader.chunks():
            xyz = chunk["xyz"]
            good = (np.abs(xyz) <= LARGEST).all(axis=1)  # NaN compares false
            if not good.all():
                chunk = {name: values[good] for name, values in chunk.items()}
            if self._unit != "metre":
                chunk["xyz"] = chunk["xyz"] * np.array([1.0, 1.0, METRES_PER_UNIT[self._unit]])
            kept += len(chunk["xyz"])
            yield chunk
        self._dropped = self._reader.count - kept
        if kept < 2:
            raise InputError(f"{self._reader.path} holds {kept} finite point{_s(kept)}; a cloud needs at least 2.")

    def _gather(self, chunks: Iterator[Arrays]) -> PointCloud:
        parts = list(chunks)
        return self._cloud({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _cloud(self, arrays: Arrays) -> PointCloud:
        # All-zero colours, intensities and classes are how LAS says that there are none.
        kept: dict[str, Any] = {n: a for n, a in arrays.items() if n == "xyz" or a.any()}
        return PointCloud(crs=self.crs, vertical=self.vertical, **kept)

    def _bounds_by_chunks(self) -> Bounds:
        boxes = [bounds_of(chunk["xyz"]) for chunk in self._chunks() if len(chunk["xyz"])]
        corners = np.array([[b.west, b.south, b.east, b.north] for b in boxes])
        low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
        return type(boxes[0])(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the points behind: they are read anew."""
        return {**self.__dict__, "_store": None}


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def open_points(
    path: str | Path,
    *,
    crs: str | CRS | None = None,
    vertical: str | None = None,
    height_unit: str | None = None,
    budget_bytes: int = BUDGET_BYTES,
    scratch: Path | None = None,
) -> PointFile:
    """Open a point cloud (LAZ, LAS, PLY, NPZ); only its header is read.

    Parameters
    ----------
    path
        The file.
    crs, vertical
        For files that carry none. A cloud may stay without a CRS: the scene gives it that of its grid.
    height_unit
        ``metre``, ``foot`` or ``us_survey_foot`` where the file does not say it. z becomes metres.
    budget_bytes
        Larger clouds are not held in memory but sorted into a temporary folder in ``scratch``.

    Raises
    ------
    InputError
        A missing, damaged or unknown file, fewer than two points, a CRS not in metres, or a contradiction.
    """
    reader = open_reader(Path(path))
    where = str(reader.path)
    if reader.count < 2:
        raise InputError(f"{where} holds {reader.count} point{_s(reader.count)}; a cloud needs at least 2.")
    resolved = reconcile_crs(where, reader.crs.horizontal, None if crs is None else parse_crs(crs))
    if resolved is not None:
        require_metric(where, resolved)
    datum = reconcile_vertical(where, reader.crs.vertical, vertical)
    found = [("its vertical CRS", reader.crs.height_unit), (f"the vertical datum {datum}", vertical_unit(datum))]
    unit = resolve_height_unit(where, height_unit, found)
    if unit != "metre":
        datum = metric_vertical(datum)
    return PointFile(reader, resolved, datum, unit, budget_bytes, scratch)


def read_points(path: str | Path) -> PointCloud:
    """Return all points of a file; see ``open_points``."""
    return open_points(path).read()
