"""Coordinate systems at the file edge: the horizontal part in metres, the vertical part by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError

from refbench.contracts.errors import InputError
from refbench.formats.units import METRES_PER_UNIT, parse_unit, unit_of_factor

VERTICAL_TAG = "REFBENCH_VERTICAL"

# NAVD88 and NGVD29 exist in feet and in metres under different codes.
_METRIC_EQUIVALENT = {"EPSG:8228": "EPSG:5703", "EPSG:6360": "EPSG:5703", "EPSG:5702": "EPSG:7968"}


@dataclass(frozen=True, slots=True)
class SplitCRS:
    """A file's CRS taken apart: ``vertical`` and ``height_unit`` are None where it says nothing of heights."""

    horizontal: CRS | None
    vertical: str | None = None
    height_unit: str | None = None


def parse_crs(text: str | CRS, where: str = "crs") -> CRS:
    """Return the CRS of a user's text such as ``EPSG:32632``, or raise ``InputError``."""
    try:
        with rasterio.Env():  # PROJ's errors go to the log, not to the terminal
            return _normalised(CRS.from_user_input(text))
    except (CRSError, ValueError, TypeError) as error:
        raise InputError(f"{where}: {text!r} is not a CRS; write it as in EPSG:32632.") from error


def _normalised(crs: CRS) -> CRS:
    """Replace WKT by its EPSG code where there is a sure one, so that two spellings compare equal."""
    code = crs.to_epsg(confidence_threshold=90)
    return CRS.from_epsg(code) if code else crs


def _code(part: dict[str, Any]) -> str | None:
    identity = part.get("id") or {}
    return f"{identity['authority']}:{identity['code']}" if identity.get("code") else None


def _axis_unit(part: dict[str, Any]) -> str | None:
    unit = part["coordinate_system"]["axis"][-1].get("unit")
    if isinstance(unit, dict):
        return unit_of_factor(float(unit.get("conversion_factor", 0.0))) or str(unit.get("name"))
    return parse_unit(unit) or unit


def crs_tree(crs: CRS) -> dict[str, Any]:
    """Return a CRS as PROJJSON, without what binds it to another; empty where PROJ cannot say it."""
    try:
        tree: dict[str, Any] = crs.to_dict(projjson=True)
    except CRSError:
        return {}
    while tree.get("type") == "BoundCRS":
        tree = tree["source_crs"]
    return tree


def split_crs(crs: CRS | None) -> SplitCRS:
    """Return the horizontal CRS, the vertical datum (EPSG code or ``ellipsoid``) and the unit of heights.

    Three axes, or a vertical datum that is an ellipsoid (keys 5001 to 5033 of GeoTIFF 1.0), mean ``ellipsoid``.
    """
    if crs is None:
        return SplitCRS(None)
    tree = crs_tree(crs)
    if tree.get("type") == "CompoundCRS":
        flat, up = tree["components"][0], tree["components"][1]
        horizontal = CRS.from_user_input(_code(flat) or json.dumps(flat))
        datum = str((up.get("datum") or up.get("datum_ensemble") or {}).get("name", ""))
        vertical = "ellipsoid" if "ellipsoid" in f"{up.get('name', '')} {datum}".lower() else _code(up)
        return SplitCRS(_normalised(horizontal), vertical, _axis_unit(up))
    axes = tree.get("coordinate_system", {}).get("axis", ())
    if len(axes) == 3 and tree["type"] != "EngineeringCRS" and not _is_geocentric(tree):
        return SplitCRS(_flat(crs, tree), "ellipsoid", _axis_unit(tree))
    return SplitCRS(_normalised(crs))


def _is_geocentric(tree: dict[str, Any]) -> bool:
    return tree.get("type") == "GeodeticCRS" and tree.get("coordinate_system", {}).get("subtype") == "Cartesian"


def is_geocentric(crs: CRS) -> bool:
    """Return whether a CRS has x, y and z from the middle of the Earth."""
    return _is_geocentric(crs_tree(crs))


def _flat(crs: CRS, tree: dict[str, Any]) -> CRS:
    """Return a CRS of three axes without its heights."""
    flat = json.loads(json.dumps(tree))
    for part in (flat, flat.get("base_crs", {})):
        part.pop("id", None)
        if "coordinate_system" in part:
            part["coordinate_system"]["axis"] = part["coordinate_system"]["axis"][:2]
    try:
        return _normalised(CRS.from_user_input(json.dumps(flat)))
    except CRSError:
        return _normalised(crs)


@dataclass(frozen=True, slots=True)
class LocalUnit:
    """Unit of the axes of a local CRS: its name and its length in metres."""

    name: str
    metres: float


def local_unit(where: str, crs: CRS) -> LocalUnit | None:
    """Return the unit of a local (engineering) CRS, None for every other kind.

    Raises
    ------
    InputError
        Its axes have different units, or one that is no length.
    """
    tree = crs_tree(crs)
    if tree.get("type") != "EngineeringCRS":
        return None
    units = {json.dumps(axis.get("unit")) for axis in tree["coordinate_system"]["axis"][:2]}
    unit = json.loads(units.pop())
    factor = float(unit.get("conversion_factor", 0.0)) if isinstance(unit, dict) else 1.0 * (unit == "metre")
    if units or not (math.isfinite(factor) and factor > 0) or (isinstance(unit, dict) and unit["type"] != "LinearUnit"):
        raise InputError(f"{where}: its local CRS has axes without one unit of length; reproject it first.")
    name = str(unit["name"]) if isinstance(unit, dict) else str(unit)
    known = unit_of_factor(factor)
    return LocalUnit(name, METRES_PER_UNIT[known] if known else factor)


def metric_local(crs: CRS) -> CRS:
    """Return a local CRS with its axes in metres."""
    tree = json.loads(json.dumps(crs_tree(crs)))
    for axis in tree["coordinate_system"]["axis"]:
        axis["unit"] = "metre"
    tree.pop("id", None)
    return CRS.from_user_input(json.dumps(tree))


def require_metric(where: str, crs: CRS | None) -> CRS:
    """Return ``crs`` where its horizontal unit is the metre.

    Raises
    ------
    InputError
        There is none, it is geographic, geocentric or no horizontal CRS at all, or it counts in feet.
    """
    if crs is None:
        raise InputError(f"{where} has no CRS, and metres are needed; declare one with --crs or crs: in scene.yaml.")
    tree = crs_tree(crs)
    kind = str(tree.get("type", ""))
    if crs.is_geographic or kind.endswith("GeographicCRS"):
        raise InputError(
            f"{where} has a geographic CRS ({crs_title(crs)}), and metres are needed; reproject it to UTM first."
        )
    if kind == "GeodeticCRS":
        raise InputError(
            f"{where} has a geocentric CRS ({crs_title(crs)}), whose heights are none; reproject it to UTM first."
        )
    if kind == "EngineeringCRS":  # nothing is projected: its own axes are the metres
        unit, factor = crs.units_factor if (own := local_unit(where, crs)) is None else (own.name, own.metres)
    elif crs.is_projected:
        unit, factor = crs.linear_units_factor
    else:
        raise InputError(f"{where} has a CRS without easting and northing ({crs_title(crs)}); declare a projected one.")
    if not math.isclose(factor, 1.0):
        raise InputError(
            f"{where}: its CRS ({crs_title(crs)}) counts in {unit}, and metres are needed; reproject it first."
        )
    return crs


def require_map(where: str, crs: CRS | None) -> CRS:
    """Return ``crs`` where coordinates in it are places on a map or in degrees, whatever their unit.

    Raises
    ------
    InputError
        There is none, or it is geocentric or vertical alone.
    """
    if crs is not None and (crs.is_geographic or crs.is_projected):
        return crs
    return require_metric(where, crs)


def map_unit(crs: CRS) -> str | None:
    """Return the unit of a map projection that does not count in metres; None for all else, or an unknown one."""
    if not crs.is_projected:
        return None
    unit = unit_of_factor(float(crs.linear_units_factor[1]))
    return None if unit == "metre" else unit


def crs_title(crs: CRS) -> str:
    """Return a CRS as its code, else its name: a WKT would drown a sentence."""
    text: str = crs.to_string()
    return text if len(text) < 60 else str(crs_tree(crs).get("name") or f"{text[:50]}...")


def reconcile_crs(where: str, found: CRS | None, declared: CRS | None) -> CRS | None:
    """Return the file's CRS, or the declared one where the file carries none; raise where they contradict."""
    if found is not None and declared is not None and found != declared:
        raise InputError(
            f"{where} has the CRS {crs_title(found)}, but crs says {crs_title(declared)}; "
            "crs is only for files that carry none."
        )
    return found if found is not None else declared


def check_vertical(text: str) -> str:
    """Return ``ellipsoid``, ``unknown`` or the ``EPSG:<code>`` of a vertical CRS, or raise ``InputError``."""
    if text in ("ellipsoid", "unknown"):
        return text
    authority, _, code = text.upper().partition(":")
    wanted = "vertical is ellipsoid, unknown or an EPSG code of a vertical CRS such as EPSG:5773"
    if authority != "EPSG" or not (code.isascii() and code.isdigit()):
        raise InputError(f"{wanted}, got {text!r}.")
    try:
        with rasterio.Env():
            tree = crs_tree(CRS.from_epsg(int(code)))
    except (CRSError, OverflowError, ValueError):
        raise InputError(f"{wanted}; EPSG knows no CRS {text[:40]}.") from None
    kind = str(tree.get("type", ""))
    if len(tree.get("coordinate_system", {}).get("axis", ())) == 3 and not _is_geocentric(tree):
        return "ellipsoid"  # EPSG:4979 and its like: heights above their ellipsoid
    if kind == "CompoundCRS":
        raise InputError(f"{wanted}; {text} is a compound CRS, give its part {tree['components'][1]['name']!r}.")
    if kind != "VerticalCRS":
        raise InputError(f"{wanted}; {text} is {tree.get('name')}, which has no heights.")
    return f"EPSG:{int(code)}"


def reconcile_vertical(where: str, found: str | None, declared: str | None) -> str:
    """Return the vertical datum, ``unknown`` where nobody names one; raise where file and user contradict."""
    wanted = None if declared in (None, "unknown") else check_vertical(str(declared))
    if found in (None, "unknown"):
        return wanted or "unknown"
    if wanted is not None and wanted != found:
        raise InputError(f"{where} has the vertical datum {found}, but vertical says {wanted}; repair either.")
    return str(found)


def vertical_unit(vertical: str | None) -> str | None:
    """Return the unit of a vertical CRS given as an EPSG code; None where it has none."""
    if vertical is None or not vertical.startswith("EPSG:"):
        return None
    try:
        return _axis_unit(crs_tree(CRS.from_epsg(int(vertical.removeprefix("EPSG:")))))
    except (CRSError, ValueError, KeyError):
        return None


def metric_vertical(vertical: str) -> str:
    """Return the vertical datum of heights after conversion to metres: a CRS in feet cannot name it any more."""
    if vertical_unit(vertical) in (None, "metre"):
        return vertical
    return _METRIC_EQUIVALENT.get(vertical, "unknown")


def compound_crs(crs: CRS | None, vertical: str) -> CRS | None:
    """Return the CRS for a file: compound where the vertical datum is an EPSG code, else the horizontal one."""
    code = None if crs is None else crs.to_epsg()
    if code is None or not vertical.startswith("EPSG:"):
        return crs
    return parse_crs(f"EPSG:{code}+{vertical.removeprefix('EPSG:')}", "vertical")


def ellipsoidal_wkt(crs: CRS | None) -> str | None:
    """Return WKT 1 of a projected CRS with heights above its ellipsoid, as GeoTIFF keeps it; None where it cannot.

    GeoTIFF 1.1 says it by the code of the geographic CRS of three axes (EPSG:4979 for WGS 84) as vertical key. GDAL
    writes that key only for a vertical CRS which bears the code.
    """
    tree = {} if crs is None else crs_tree(crs)
    if crs is None or tree.get("type") != "ProjectedCRS" or crs.to_epsg() is None:
        return None
    base = json.loads(json.dumps(tree["base_crs"]))
    base.pop("id", None)
    base["type"] = "GeographicCRS"
    up = {"name": "Ellipsoidal height", "abbreviation": "h", "direction": "up", "unit": "metre"}
    base["coordinate_system"]["axis"] = [*base["coordinate_system"]["axis"][:2], up]
    try:
        code = CRS.from_user_input(json.dumps(base)).to_epsg(confidence_threshold=70)
    except CRSError:
        return None
    if code is None:
        return None
    flat = CRS.from_epsg(crs.to_epsg()).to_wkt(version="WKT1_GDAL")
    return (
        f'COMPD_CS["{tree["name"]} + ellipsoidal height",{flat},VERT_CS["{base["name"]} ellipsoidal height",'
        f'VERT_DATUM["{base["name"]} ellipsoid",2005],UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
        f'AXIS["Ellipsoidal height",UP],AUTHORITY["EPSG","{code}"]]]'
    )
