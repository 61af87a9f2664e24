"""CRS and units of point clouds: how degrees, feet and geocentric coordinates come to metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform as proj_transform

from refbench.contracts.errors import InputError
from refbench.formats.crs import (
    crs_title,
    is_geocentric,
    local_unit,
    map_unit,
    metric_local,
    require_map,
    require_metric,
)
from refbench.formats.units import METRES_PER_UNIT, parse_unit, unit_of_factor
from refbench.formats.utm import OWN, is_in_metres, target_of, unturned, utm_zone
from refbench.geometry.crs_map import transform_exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.formats.cloud_reader import CloudReader

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Way:
    """How the coordinates of a file come to metres.

    ``crs`` is that of the points as they are read; ``unit`` that of a local CRS, or of the heights of a map in feet;
    ``source`` the CRS that they are transformed from, None where they are only scaled.
    """

    crs: CRS
    unit: str | None = None
    source: CRS | None = None

    @property
    def is_geocentric(self) -> bool:
        """Whether x, y and z of the file are metres from the middle of the Earth."""
        return self.source is not None and is_geocentric(self.source)

    def __call__(self, xyz: Floats) -> Floats:
        """Return points float64 [N, 3] in ``crs``; what has no place there is infinite."""
        if self.source is None:
            return xyz
        source, (x, y, z) = self.source, xyz.T
        if self.is_geocentric:
            source, (x, y, z) = _GEODETIC, _to_degrees(self.source, xyz)
        x, y = transform_exact(source, self.crs, x, y)
        return np.stack([x, y, z], axis=1)


_GEODETIC = CRS.from_epsg(4326)
FARTHEST_HEIGHT = 1e5
"""Geocentric points that lie farther than this from the ellipsoid, in metres, are no places on the Earth."""


def _to_degrees(crs: CRS, xyz: Floats) -> tuple[Floats, Floats, Floats]:
    """Return longitude, latitude (degrees) and height above the ellipsoid (metres) of geocentric points [N, 3]."""
    lon, lat, height = proj_transform(crs, CRS.from_epsg(4979), xyz[:, 0], xyz[:, 1], xyz[:, 2])
    return np.asarray(lon), np.asarray(lat), np.asarray(height)


def settle_crs(reader: CloudReader, crs: CRS, target: CRS | str | None = None) -> Way:
    """Return how a cloud in ``crs`` comes to metres: to ``target``, else as it is, else to the UTM zone of its middle.

    Raises
    ------
    InputError
        A local CRS in a unit that is not converted or against a target, no CRS of places, or a place beyond UTM.
    """
    where = str(reader.path)
    local = local_unit(where, crs)
    if local is not None:
        unit = unit_of_factor(local.metres)
        if unit is None:
            return Way(require_metric(where, crs))
        return Way(crs) if unit == "metre" else Way(metric_local(crs), unit)
    if not is_geocentric(crs):
        require_map(where, crs)
        if is_in_metres(crs) and target in (None, OWN, crs):
            return Way(crs)
    if target is None or (target == OWN and not crs.is_projected):
        target = utm_zone(*_middle(reader, crs), f"{where} ({crs_title(crs)})")
    return Way(target_of(where, crs, target, (0.0, 0.0)), map_unit(crs), crs)


def _middle(reader: CloudReader, crs: CRS) -> tuple[float, float]:
    """Return longitude and latitude of the middle of the first points: headers of geocentric clouds tell none."""
    for chunk in reader.chunks():
        xyz = chunk["xyz"]
        xyz = xyz[np.isfinite(xyz).all(axis=1)]
        if is_geocentric(crs):
            xyz = np.stack(_to_degrees(crs, xyz), axis=1)
            xyz = xyz[np.abs(xyz[:, 2]) < FARTHEST_HEIGHT]
        source = _GEODETIC if is_geocentric(crs) else crs
        lon, lat = transform_exact(source, _GEODETIC, xyz[:, 0], xyz[:, 1])
        known = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
        if known.any():
            # A median: one corrupt point must not choose the zone.
            turned = unturned(lon[known], float(lon[known][0]))
            return float(np.median(turned)), float(np.median(lat[known]))
    kind = "geocentric " if is_geocentric(crs) else ""
    raise InputError(
        f"{reader.path}: none of its points is a place on the Earth; its {kind}CRS ({crs_title(crs)}) may be wrong."
    )


def resolve_unit(where: str, place: str, text: str | None) -> str:
    """Return the unit of all coordinates, ``metre`` where the file names none.

    Raises
    ------
    InputError
        It is no unit of length that is known.
    """
    if text is None:
        return "metre"
    unit = parse_unit(text)
    if unit is None:
        raise InputError(f"{where}: {place} is {text[:60]!r}, which is none of {', '.join(METRES_PER_UNIT)}.")
    return unit
