"""The CRS in metres for data in degrees, feet or geocentric coordinates, and the grid that they get in it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds, Grid
from refbench.formats.crs import crs_title, crs_tree, local_unit
from refbench.formats.limits import check_pixels
from refbench.geometry.crs_map import transform_exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

WGS84 = CRS.from_epsg(4326)
OWN = "own"
"""Word for the target that is the file's own map projection, counted in metres."""
SOUTHERNMOST, NORTHERNMOST = -80.0, 84.0
WIDEST_DEGREES = 12.0
"""Data that reach farther from the middle of their zone are not brought to it unasked: UTM distorts by 0.5 % there."""


def utm_zone(lon: float, lat: float, where: str = "The scene") -> CRS:
    """Return the UTM zone (WGS 84) of a place in degrees; any turn of the longitude is the same place.

    Raises
    ------
    InputError
        The place lies beyond 80 degrees south or 84 degrees north, where there is no UTM.
    """
    if not (math.isfinite(lon) and math.isfinite(lat) and abs(lat) <= 90.0):
        raise InputError(f"{where} lies at no place on the Earth (longitude {lon:g}, latitude {lat:g}).")
    if not SOUTHERNMOST <= lat <= NORTHERNMOST:
        pole = "EPSG:5041" if lat > 0 else "EPSG:5042"
        raise InputError(
            f"{where} lies at latitude {lat:.4g}, and UTM ends at 80° S and 84° N; name a CRS with --target-crs, "
            f"such as {pole} (UPS)."
        )
    zone = int(((lon + 180.0) % 360.0) // 6.0) % 60 + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def is_in_metres(crs: CRS) -> bool:
    """Return whether a CRS is a map in metres, or a local one (which is converted by its unit alone)."""
    if local_unit("crs", crs) is not None:
        return True
    return bool(crs.is_projected) and math.isclose(float(crs.linear_units_factor[1]), 1.0)


def metric_counterpart(where: str, crs: CRS) -> CRS:
    """Return a map projection that counts in feet with its axes in metres: the same map, other numbers.

    Raises
    ------
    InputError
        It is no map projection.
    """
    tree = json.loads(json.dumps(crs_tree(crs)))
    if tree.get("type") != "ProjectedCRS":
        raise InputError(f"{where}: --target-crs own is for map projections, and {crs_title(crs)} is none.")
    tree.pop("id", None)
    tree["name"] = f"{tree['name']}, in metres"
    for axis in tree["coordinate_system"]["axis"]:
        axis["unit"] = "metre"
    try:
        return CRS.from_user_input(json.dumps(tree))
    except CRSError as error:
        raise InputError(f"{where}: {crs_title(crs)} cannot be counted in metres; name another target.") from error


def lonlat(crs: CRS, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the middle in degrees of places [N] in a CRS; longitudes are averaged round the globe."""
    lon, lat = transform_exact(crs, WGS84, x, y)
    turn = np.angle(np.exp(1j * np.deg2rad(lon)).mean())
    return float(np.rad2deg(turn)), float(np.mean(lat))


def _lattice(grid: Grid, number: int = 23) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y [number ** 2] over a grid, its corners among them."""
    side = np.linspace(0.0, 1.0, number)
    col, row = (a.ravel() for a in np.meshgrid(side * grid.width, side * grid.height))
    t = grid.transform
    return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f


def grid_centre(grid: Grid) -> tuple[float, float]:
    """Return longitude and latitude, degrees, of the middle of a grid."""
    assert grid.crs is not None  # the caller looked
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    return lonlat(grid.crs, np.array([x]), np.array([y]))


def target_of(where: str, crs: CRS, target: str | CRS | None, centre: tuple[float, float]) -> CRS:
    """Return the CRS in metres that data in ``crs`` are brought to: the named one, ``own``, or the UTM zone."""
    if target is None:
        return utm_zone(*centre, f"{where} ({crs_title(crs)})")
    return metric_counterpart(where, crs) if target == OWN else CRS.from_user_input(target)


def metric_grid(where: str, grid: Grid, target: CRS, gsd: float | None = None) -> Grid:
    """Return the north-up grid of square pixels in ``target`` that covers ``grid``.

    Its pixels have the area of the grid's own in its middle, rounded to four digits, unless ``gsd`` (metres) says
    another size; its corners are multiples of it.

    Raises
    ------
    InputError
        The grid reaches where the target has no coordinates, too far from its middle, or would have too many pixels.
    """
    assert grid.crs is not None  # the caller looked
    x, y = _lattice(grid)
    east, north = transform_exact(grid.crs, target, x, y)
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        raise InputError(f"{where} reaches beyond what {crs_title(target)} can show; crop it or name --target-crs.")
    _check_width(where, grid, target)
    size = gsd or float(f"{_pixel_size(grid, target):.4g}")
    bounds = Bounds(float(east.min()), float(north.min()), float(east.max()), float(north.max()))
    pixels = [math.ceil(length / size) + 1 for length in (bounds.east - bounds.west, bounds.north - bounds.south)]
    check_pixels(f"{where} in {crs_title(target)} has", *pixels)
    return Grid.snap(bounds, size, target, grid.vertical)


def _check_width(where: str, grid: Grid, target: CRS) -> None:
    """Refuse a grid that reaches far from the middle of a UTM zone."""
    code = target.to_epsg() or 0
    if code // 100 not in (326, 327):
        return
    lon, _ = transform_exact(grid.crs, WGS84, *_lattice(grid))
    middle = 6.0 * (code % 100) - 183.0
    far = float(np.abs(unturned(lon, middle) - middle).max())
    if far > WIDEST_DEGREES:
        raise InputError(
            f"{where} reaches {far:.4g}° from the middle of {crs_title(target)}, too far for UTM; "
            "crop it, or name a CRS that fits with --target-crs."
        )


def _pixel_size(grid: Grid, target: CRS) -> float:
    """Return the side in metres of a square with the area of the pixel in the middle."""
    assert grid.crs is not None  # the caller looked
    col, row = grid.width / 2, grid.height / 2
    corners = [grid.transform @ place for place in ((col, row), (col + 1, row), (col, row + 1))]
    x, y = transform_exact(grid.crs, target, *(np.array(axis) for axis in zip(*corners, strict=True)))
    cross = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return math.sqrt(abs(float(cross)))


def unturned(lon: NDArray[np.float64], around: float) -> NDArray[np.float64]:
    """Return longitudes within half a turn of ``around``, all degrees: 181 and -179 are one meridian."""
    return np.asarray(around + np.remainder(lon - around + 180.0, 360.0) - 180.0)
