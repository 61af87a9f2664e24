"""CRS and units of point clouds: what cannot be taken as metres is refused with the way out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.formats.crs import is_geocentric, local_unit, metric_local, require_metric
from refbench.formats.units import METRES_PER_UNIT, parse_unit, unit_of_factor

if TYPE_CHECKING:
    from rasterio.crs import CRS

    from refbench.formats.cloud_reader import CloudReader


def settle_crs(reader: CloudReader, crs: CRS) -> tuple[CRS, str | None]:
    """Return the CRS of a cloud in metres, and the unit of its coordinates where a local CRS names it.

    Raises
    ------
    InputError
        It is geocentric or geographic, or a map projection or a local CRS in a unit that is not converted.
    """
    where = str(reader.path)
    if is_geocentric(crs):
        raise InputError(
            f"{where} has a geocentric CRS ({crs.to_string()}), and projected metres are needed; {_way_out(reader)}"
        )
    if crs.is_geographic:
        raise InputError(f"{where} has a geographic CRS ({crs.to_string()}), and metres are needed; {_way_out(reader)}")
    local = local_unit(where, crs)
    if local is not None and (unit := unit_of_factor(local.metres)) is not None:
        return (crs, None) if unit == "metre" else (metric_local(crs), unit)
    return require_metric(where, crs), None


def _way_out(reader: CloudReader) -> str:
    """Return how to reproject the cloud, with the UTM zone where the header tells it."""
    zone = "EPSG:<UTM zone>"
    box = reader.bounds
    if box is not None and not (reader.crs.horizontal and is_geocentric(reader.crs.horizontal)):
        lon, lat = (box.west + box.east) / 2, (box.south + box.north) / 2
        if math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 84 and (lon or lat):
            zone = f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1}"
    path = reader.path
    return f"reproject it first: pdal translate {path.name} out.laz reprojection --filters.reprojection.out_srs={zone}"


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
