"""Coordinate systems at the file edge: the horizontal part in metres, the vertical part by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError

from refbench.contracts.errors import InputError
from refbench.formats.units import parse_unit, unit_of_factor

VERTICAL_TAG = "REFBENCH_VERTICAL"

# NAVD88 and NGVD29 exist in feet and in metres under different codes.
_METRIC_TWIN = {"EPSG:8228": "EPSG:5703", "EPSG:6360": "EPSG:5703", "EPSG:5702": "EPSG:7968"}


@dataclass(frozen=True, slots=True)
class SplitCRS:
    """A file's CRS taken apart: ``vertical`` and ``height_unit`` are None where it says nothing of heights."""

    horizontal: CRS | None
    vertical: str | None = None
    height_unit: str | None = None


def parse_crs(text: str | CRS, where: str = "crs") -> CRS:
    """Return the CRS of a user's text such as ``EPSG:32632``, or raise ``InputError``."""
    try:
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


def split_crs(crs: CRS | None) -> SplitCRS:
    """Return the horizontal CRS, the vertical datum (EPSG code or ``ellipsoid``) and the unit of heights."""
    if crs is None:
        return SplitCRS(None)
    try:
        tree = crs.to_dict(projjson=True)
    except CRSError:
        return SplitCRS(crs)
    if tree.get("type") == "CompoundCRS":
        flat, up = tree["components"][0], tree["components"][1]
        horizontal = CRS.from_user_input(_code(flat) or json.dumps(flat))
        return SplitCRS(_normalised(horizontal), _code(up), _axis_unit(up))
    axes = tree.get("coordinate_system", {}).get("axis", ())
    if len(axes) == 3:
        return SplitCRS(_normalised(crs), "ellipsoid", _axis_unit(tree))
    return SplitCRS(_normalised(crs))


def require_metric(where: str, crs: CRS | None) -> CRS:
    """Return ``crs`` where its horizontal unit is the metre.

    Raises
    ------
    InputError
        There is none, it is geographic, or it counts in feet.
    """
    if crs is None:
        raise InputError(f"{where} has no CRS, and metres are needed; declare one with --crs or crs: in scene.yaml.")
    if crs.is_geographic:
        raise InputError(
            f"{where} has a geographic CRS ({crs.to_string()}), and metres are needed; reproject it to UTM first."
        )
    try:
        unit, factor = crs.linear_units_factor
    except CRSError:  # a local engineering CRS: nothing is projected, its own axes are the metres
        return crs
    if not math.isclose(factor, 1.0):
        raise InputError(
            f"{where}: its CRS ({crs.to_string()}) counts in {unit}, and metres are needed; reproject it first."
        )
    return crs


def reconcile_crs(where: str, found: CRS | None, declared: CRS | None) -> CRS | None:
    """Return the file's CRS, or the declared one where the file carries none; raise where they contradict."""
    if found is not None and declared is not None and found != declared:
        raise InputError(
            f"{where} has the CRS {found.to_string()}, but crs says {declared.to_string()}; "
            "crs is only for files that carry none."
        )
    return found if found is not None else declared


def check_vertical(text: str) -> str:
    """Return ``ellipsoid``, ``unknown`` or a valid ``EPSG:<code>``, or raise ``InputError``."""
    if text in ("ellipsoid", "unknown"):
        return text
    authority, _, code = text.upper().partition(":")
    if authority != "EPSG" or not code.isdigit():
        raise InputError(f"vertical is ellipsoid, unknown or an EPSG code such as EPSG:5773, got {text!r}.")
    return f"EPSG:{code}"


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
    return split_crs(parse_crs(f"EPSG:32632+{vertical.removeprefix('EPSG:')}", "vertical")).height_unit


def metric_vertical(vertical: str) -> str:
    """Return the vertical datum of heights after conversion to metres: a CRS in feet cannot name it any more."""
    if vertical_unit(vertical) in (None, "metre"):
        return vertical
    return _METRIC_TWIN.get(vertical, "unknown")


def compound_crs(crs: CRS | None, vertical: str) -> CRS | None:
    """Return the CRS for a file: compound where the vertical datum is an EPSG code, else the horizontal one."""
    code = None if crs is None else crs.to_epsg()
    if code is None or not vertical.startswith("EPSG:"):
        return crs
    return parse_crs(f"EPSG:{code}+{vertical.removeprefix('EPSG:')}", "vertical")
