"""CRS and units of point clouds: what cannot be taken as metres is refused with the way out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rasterio.errors import CRSError

from refbench.contracts.errors import InputError
from refbench.formats.crs import require_metric
from refbench.formats.units import METRES_PER_UNIT, parse_unit

if TYPE_CHECKING:
    from rasterio.crs import CRS

    from refbench.formats.cloud_reader import CloudReader


def require_metric_cloud(reader: CloudReader, crs: CRS) -> None:
    """Refuse a CRS whose coordinates are no metres on a plane.

    Raises
    ------
    InputError
        It is geocentric, geographic, or counts in another unit while the file names none itself.
    """
    where = str(reader.path)
    if is_geocentric(crs):
        raise InputError(
            f"{where} has a geocentric CRS ({crs.to_string()}), and projected metres are needed; {_way_out(reader)}"
        )
    if crs.is_geographic:
        raise InputError(f"{where} has a geographic CRS ({crs.to_string()}), and metres are needed; {_way_out(reader)}")
    require_metric(where, crs)


def _way_out(reader: CloudReader) -> str:
    """Return how to reproject the cloud, with the UTM zone where the header tells it."""
    zone = "EPSG:<UTM zone>"
    box = reader.bounds
    if box is not None and not is_geocentric(reader.crs.horizontal):
        lon, lat = (box.west + box.east) / 2, (box.south + box.north) / 2
        if math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 84 and (lon or lat):
            zone = f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1}"
    path = reader.path
    return f"reproject it first: pdal translate {path.name} out.laz reprojection --filters.reprojection.out_srs={zone}"


def is_geocentric(crs: CRS | None) -> bool:
    """Return whether a CRS has x, y and z from the middle of the Earth."""
    if crs is None or crs.is_projected:
        return False
    try:
        tree = crs.to_dict(projjson=True)
    except CRSError:
        return False
    return bool(tree.get("type") == "GeodeticCRS" and tree.get("coordinate_system", {}).get("subtype") == "Cartesian")


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
