"""Point clouds as sources: opened by header, read whole or by rectangle, within a memory budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds
from refbench.contracts.points import PointCloud
from refbench.formats.cloud_crs import resolve_unit, settle_crs
from refbench.formats.cloud_formats import open_reader
from refbench.formats.cloud_index import DiskIndex, HeldIndex, bounds_of
from refbench.formats.cloud_survey import Survey, drop_flagged
from refbench.formats.cloud_write import write_points
from refbench.formats.crs import (
    crs_title,
    metric_vertical,
    parse_crs,
    reconcile_crs,
    reconcile_vertical,
    vertical_unit,
)
from refbench.formats.units import METRES_PER_UNIT, conversion_warning, resolve_height_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasterio.crs import CRS

    from refbench.formats.cloud_crs import Way
    from refbench.formats.cloud_index import Arrays
    from refbench.formats.cloud_reader import CloudReader

__all__ = ["HeldPoints", "PointFile", "open_points", "read_points", "write_points"]

BUDGET_BYTES = 1 << 30
BYTES_PER_POINT = 64  # float64 xyz, colour, intensity, class, point number, a temporary copy of xyz


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
    folder and read from there. Both return the points in the order of the file, without those that are not finite,
    withheld, noise, or far from all others.
    """

    def __init__(self, reader: CloudReader, crs: CRS | None, vertical: str, settings: PointSettings) -> None:
        """Take a checked reader and what ``open_points`` settled."""
        self._reader, self._settings = reader, settings
        self.crs, self.vertical = crs, vertical
        self._store: HeldPoints | DiskIndex | None = None
        self._known: Survey | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or the files of one cloud that its reader joins."""
        return self._reader.files

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user; those about points are known after the first read."""
        path, settings = str(self._reader.path), self._settings
        notes = list(self._reader.notes)
        if (way := settings.way) is not None and way.source is not None:
            notes.append(
                f"{path}: its points came from {crs_title(way.source)} to {crs_title(way.crs)}, each by itself, "
                "so nothing is interpolated."
            )
        if settings.unit != "metre":
            unit = settings.unit.replace("_", " ")
            notes.append(f"{path}: coordinates are in {unit}; they were converted to metres.")
        if settings.height_unit not in ("metre", settings.unit):
            notes.append(conversion_warning(path, settings.height_unit))
        if self._known is not None:
            notes += self._known.notes(path, self._stated_bounds())
        return tuple(notes)

    def _stated_bounds(self) -> Bounds | None:
        """Return what the header says of the rectangle, in metres."""
        box, factor = self._reader.bounds, METRES_PER_UNIT[self._settings.unit]
        if self._settings.way is not None and self._settings.way.source is not None:
            return None  # it is in another CRS
        return box and Bounds(box.west * factor, box.south * factor, box.east * factor, box.north * factor)

    def bounds(self) -> Bounds:
        """Return the rectangle around all points, by reading: headers are not to be trusted."""
        return self._survey().bounds()

    def count(self) -> int:
        """Return the number of points; those dropped are not counted once a read has found them."""
        return self._reader.count if self._known is None else self._known.kept

    def read(self, bounds: Bounds | None = None) -> PointCloud:
        """Return all points, or those with west <= x < east and south <= y < north, in the order of the file.

        Raises
        ------
        InputError
            The file is damaged, or holds fewer than two points that count.
        """
        if self._is_small:
            return self._held().read(bounds)
        if bounds is None:
            return self._gather(self._chunks())
        return self._cloud(self._sorted().read(bounds))

    def check(self) -> None:
        """Read the file once, so that damage and dropped points are known; a small cloud is held from then on."""
        self._survey()

    @property
    def _is_small(self) -> bool:
        return self._reader.count * BYTES_PER_POINT <= self._settings.budget_bytes

    def _held(self) -> HeldPoints:
        self._survey()
        if not isinstance(self._store, HeldPoints):  # after unpickling
            self._store = HeldPoints(self._gather(self._chunks()))
        return self._store

    def _sorted(self) -> DiskIndex:
        if not isinstance(self._store, DiskIndex):
            bounds = self.bounds()
            self._store = DiskIndex(self._chunks, bounds, self.count(), self._settings.scratch)
        return self._store

    def _survey(self) -> Survey:
        """Read the points once and hold them where they are few."""
        if self._known is None:
            survey, parts = Survey(self._reader.count), []
            for chunk in self._clean(survey):
                survey.add(chunk["xyz"])
                if self._is_small:
                    parts.append(chunk)
            self._check_count(survey)
            survey.find_far(lambda: (chunk["xyz"] for chunk in parts or self._clean()))
            self._known = survey
            if parts:
                self._store = HeldPoints(self._gather(survey.without_far(chunk) for chunk in parts))
        return self._known

    def _chunks(self) -> Iterator[Arrays]:
        """Yield the points that count."""
        survey = self._survey()
        return (survey.without_far(chunk) for chunk in self._clean())

    def _clean(self, survey: Survey | None = None) -> Iterator[Arrays]:
        """Yield chunks of finite points in metres, without the withheld and noise; ``survey`` counts those dropped."""
        settings = self._settings
        factors = METRES_PER_UNIT[settings.unit], METRES_PER_UNIT[settings.height_unit]
        scale = np.array([factors[0], factors[0], factors[1]])
        for chunk in self._reader.chunks():
            if (scale != 1).any():
                chunk["xyz"] = chunk["xyz"] * scale
            if settings.way is not None:
                chunk["xyz"] = settings.way(chunk["xyz"])
            yield drop_flagged(chunk, keep_noise=settings.keep_noise, survey=survey)

    def _check_count(self, survey: Survey) -> None:
        if survey.kept >= 2:
            return
        kept = survey.kept
        if survey.withheld or survey.noise:
            hint = "; --keep-noise keeps noise" if survey.noise else ""
            raise InputError(
                f"{self._reader.path} holds {kept} point{_s(kept)} beside those withheld or classified as noise; "
                f"a cloud needs at least 2{hint}."
            )
        raise InputError(f"{self._reader.path} holds {kept} finite point{_s(kept)}; a cloud needs at least 2.")

    def _gather(self, chunks: Iterator[Arrays]) -> PointCloud:
        parts = list(chunks)
        return self._cloud({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _cloud(self, arrays: Arrays) -> PointCloud:
        # All-zero colours, intensities and classes are how LAS says that there are none.
        kept: dict[str, Any] = {n: a for n, a in arrays.items() if n == "xyz" or a.any()}
        return PointCloud(crs=self.crs, vertical=self.vertical, **kept)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the points behind: they are read anew."""
        return {**self.__dict__, "_store": None}


@dataclass(frozen=True, slots=True)
class PointSettings:
    """How a file is read: units of all coordinates and of heights, memory, whether noise stays."""

    unit: str = "metre"
    height_unit: str = "metre"
    budget_bytes: int = BUDGET_BYTES
    scratch: Path | None = None
    keep_noise: bool = False
    way: Way | None = None


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def open_points(
    path: str | Path,
    *,
    crs: str | CRS | None = None,
    vertical: str | None = None,
    height_unit: str | None = None,
    keep_noise: bool = False,
    budget_bytes: int = BUDGET_BYTES,
    scratch: Path | None = None,
    target: str | CRS | None = None,
) -> PointFile:
    """Open a point cloud (LAZ, LAS, PLY, NPZ); only its header is read, and first points where these tell the zone.

    Parameters
    ----------
    path
        The file.
    crs, vertical
        For files that carry none. A cloud may stay without a CRS: the scene gives it that of its grid.
    height_unit
        ``metre``, ``foot`` or ``us_survey_foot`` where the file does not say it. z becomes metres.
    keep_noise
        Keep points of the classes 7 and 18, which are dropped otherwise. Withheld points are always dropped.
    budget_bytes
        Larger clouds are not held in memory but sorted into a temporary folder in ``scratch``.
    target
        CRS in metres that the points are brought to. Default: their own where it is in metres, else (degrees, feet,
        geocentric) the UTM zone of their middle; ``own``: a map in feet counted in metres.

    Raises
    ------
    InputError
        A missing, damaged or unknown file, a folder, fewer than two points, a place beyond UTM, or a contradiction.
    """
    reader = open_reader(Path(path))
    where = str(reader.path)
    if reader.count < 2:
        raise InputError(f"{where} holds {reader.count} point{_s(reader.count)}; a cloud needs at least 2.")
    resolved = reconcile_crs(where, reader.crs.horizontal, None if crs is None else parse_crs(crs))
    way = None if resolved is None else settle_crs(reader, resolved, target)
    own_unit = None if way is None else way.unit
    datum = reconcile_vertical(where, "ellipsoid" if way and way.is_geocentric else reader.crs.vertical, vertical)
    unit = resolve_unit(where, "the unit of its coordinates", reader.unit or own_unit)
    found = [("its vertical CRS", reader.crs.height_unit), (f"the vertical datum {datum}", vertical_unit(datum))]
    height = resolve_height_unit(where, height_unit, found)
    if height_unit is None and not any(text for _, text in found):
        height = unit  # a file that says one unit means all three axes
    if height != "metre":
        datum = metric_vertical(datum)
    if way is not None and way.source is not None:
        if way.is_geocentric and height_unit not in (None, "metre"):
            raise InputError(f"{where}: geocentric coordinates are metres; leave out the unit {height_unit}.")
        unit = "metre"  # the transformation takes the file's own numbers
    settings = PointSettings(unit, height, budget_bytes, scratch, keep_noise, way)
    return PointFile(reader, None if way is None else way.crs, datum, settings)


def read_points(path: str | Path) -> PointCloud:
    """Return all points of a file; see ``open_points``."""
    return open_points(path).read()
