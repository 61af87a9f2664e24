"""LAS and LAZ through laspy, behind checks of their headers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds
from refbench.formats import cloud_reader
from refbench.formats.cloud_reader import CloudReader
from refbench.formats.crs import SplitCRS, parse_crs, split_crs
from refbench.formats.las_chunks import check_chunks, quiet_panics
from refbench.formats.las_header import read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from refbench.formats.cloud_index import Arrays

CHUNK_BYTES = 256 << 20
_UNITS = {9001: "metre", 9002: "foot", 9003: "us_survey_foot"}
_USER_DEFINED = 32767


class LasReader(CloudReader):
    """LAS and LAZ through laspy."""

    def __init__(self, path: Path) -> None:
        """Check the layout, then read the header and the CRS records."""
        self.path = path
        try:
            layout = read_layout(path)
            if layout.laszip is not None and layout.count:
                check_chunks(path, layout)
        except ValueError as error:
            raise self._damaged(error) from error
        self.count, self._compressed = layout.count, layout.laszip is not None
        self._step = max(1, min(cloud_reader.CHUNK_POINTS, CHUNK_BYTES // layout.point_bytes))
        if not self.count:
            return
        with self._open() as file, self._edge():
            header = file.header
            self._fields = set(header.point_format.dimension_names)
            box = [float(v) for v in (*header.mins[:2], *header.maxs[:2])]
            records = [*header.vlrs, *(header.evlrs or ())]
            self.crs, self.unit, self.notes = _declared(records, str(path))
        if np.isfinite(box).all() and box[0] <= box[2] and box[1] <= box[3]:
            self.bounds = Bounds(*box)

    def _open(self) -> Any:  # noqa: ANN401  # laspy carries no types
        import laspy

        with self._edge():
            return laspy.open(self.path)

    @contextlib.contextmanager
    def _edge(self) -> Iterator[None]:
        """Turn what laspy and its decoders raise into one sentence.

        laspy lets struct, index and type errors of damaged files through; lazrs raises a class of its own and, where
        it panics, one that is no ``Exception``.
        """
        try:
            with quiet_panics() if self._compressed else contextlib.nullcontext():
                yield
        except (InputError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
            raise
        except BaseException as error:
            raise self._damaged(error) from error

    def chunks(self) -> Iterator[Arrays]:
        """Yield the points; a file with fewer than its header says raises."""
        seen = 0
        with self._open() as file:
            with self._edge():
                points = file.chunk_iterator(self._step)
            while True:
                with self._edge():
                    chunk = next(points, None)
                    arrays = None if chunk is None or not len(chunk) else self._arrays(chunk)
                if arrays is None:
                    break
                seen += len(arrays["xyz"])
                yield arrays
        if seen != self.count:
            raise self._damaged(f"it is cut off after {seen:,} of {self.count:,} points")

    def _arrays(self, chunk: Any) -> Arrays:  # noqa: ANN401  # laspy carries no types
        axes = [np.asarray(getattr(chunk, axis), np.float64) for axis in "xyz"]
        arrays: Arrays = {"xyz": np.stack(axes, axis=1)}
        if {"red", "green", "blue"} <= self._fields:
            arrays["colour"] = np.stack([np.asarray(chunk[c], np.uint16) for c in ("red", "green", "blue")], axis=1)
        arrays["intensity"] = np.asarray(chunk["intensity"], np.uint16)
        arrays["classes"] = np.asarray(chunk["classification"], np.uint8)
        arrays["withheld"] = np.asarray(chunk["withheld"], np.uint8) != 0
        return arrays


def _declared(records: list[Any], where: str) -> tuple[SplitCRS, str | None, tuple[str, ...]]:
    """Return CRS, unit of all coordinates and notes: from the WKT record, else from the GeoTIFF keys, else none."""
    for record in records:
        text = str(getattr(record, "string", "")).strip("\0 ")
        if record.record_id == 2112 and text:
            try:
                return split_crs(CRS.from_wkt(text)), None, ()
            except CRSError:
                continue
    keys: dict[int, int] = {
        int(key.id): int(key.value_offset)
        for record in records
        for key in getattr(record, "geo_keys", ())
        if key.tiff_tag_location == 0
    }
    return _of_keys(keys, where)


def _of_keys(keys: dict[int, int], where: str) -> tuple[SplitCRS, str | None, tuple[str, ...]]:
    """Read GeoTIFF keys.

    1024 is the model, 2048 the geographic and 3072 the projected CRS, 3076 its unit, 4096 the vertical CRS, 4099 its
    unit.
    """
    code = keys.get(3072) or (keys.get(2048) if keys.get(1024) != 1 else None)
    notes: list[str] = []
    horizontal = None
    if code and code != _USER_DEFINED:
        horizontal = parse_crs(f"EPSG:{code}", f"{where}: the GeoTIFF keys of its header")
    unit = _unit(keys, 3076, "coordinates", where, notes)
    if unit is not None and unit == _own_unit(horizontal):
        unit = None  # said twice; the CRS is then refused for its unit, or fine
    up = keys.get(4096)
    vertical = None
    if up and 5001 <= up <= 5033:  # GeoTIFF 1.0: heights above an ellipsoid
        vertical = "ellipsoid"
    elif up and 1024 < up < _USER_DEFINED:
        vertical = f"EPSG:{up}"
    return SplitCRS(horizontal, vertical, _unit(keys, 4099, "heights", where, notes)), unit, tuple(notes)


def _unit(keys: dict[int, int], key: int, what: str, where: str, notes: list[str]) -> str | None:
    """Return the unit that a key names; what is no unit of length known here is noted."""
    code = keys.get(key)
    if code and code not in _UNITS and code != _USER_DEFINED:
        notes.append(f"{where}: GeoTIFF key {key} (unit of the {what}) holds {code}, which is no known unit; ignored.")
    return _UNITS.get(code or 0)


def _own_unit(crs: CRS | None) -> str | None:
    """Return the unit of a projected CRS, None where there is none."""
    from refbench.formats.units import unit_of_factor

    if crs is None or not crs.is_projected:
        return None
    return unit_of_factor(float(crs.linear_units_factor[1]))
