"""Strata: where on the ground a metric is taken. Masks: 1 = class, 0 = not, anything else = unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench.contracts.raster import Mask

    Bools = NDArray[np.bool_]

BUILDING_DILATION = 2
Pixel = tuple[float, float]
SQUARE: Pixel = (1.0, 1.0)


def element(number: int, pixel: Pixel = SQUARE) -> NDArray[np.uint8]:
    """Return the structuring element of ``number`` iterations of the 4-neighbour cross, alike in metres on all sides.

    ``pixel`` is the size of a pixel down the rows and along the columns. With square pixels it is the diamond of that
    radius in pixels; with oblong ones the diamond of the same radius in mean pixels, at least one pixel each way.
    Uint8 [2 k + 1, 2 l + 1].
    """
    mean = (pixel[0] * pixel[1]) ** 0.5
    down, right = (max(1.0, number * mean / size) for size in pixel)
    rows, cols = (np.abs(np.arange(-int(reach + 1e-6), int(reach + 1e-6) + 1)) / reach for reach in (down, right))
    return np.asarray(rows[:, None] + cols[None, :] <= 1 + 1e-6, np.uint8)


def dilated(mask: Bools, number: int, pixel: Pixel = SQUARE) -> Bools:
    """Return ``mask`` [rows, cols] dilated by ``number`` pixels of the 4-neighbour cross; see ``element``."""
    if not number:
        return mask
    return np.asarray(cv2.dilate(mask.astype(np.uint8), element(number, pixel)), np.bool_)


def eroded(mask: Bools, number: int, pixel: Pixel = SQUARE) -> Bools:
    """Return ``mask`` [rows, cols] eroded likewise; what lies outside the raster counts as absent."""
    if not number:
        return mask
    border = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    return np.asarray(cv2.erode(mask.astype(np.uint8), element(number, pixel), **border), np.bool_)


def land_strata(
    masks: Mapping[str, Mask], dilation: int = BUILDING_DILATION, pixel: Pixel = SQUARE
) -> dict[str, Bools]:
    """Return name -> bool [rows, cols] of the strata that the masks allow; ``pixel`` as in ``element``.

    ``building`` is dilated and ``terrain`` is its complement, as in ResDepth and ImpliCity; ``terrain_nowater`` and
    ``terrain_nowater_noforest`` take those classes away; ``building_undilated`` and ``building_border`` (dilated minus
    eroded) are raw; every other mask is a stratum under its own name. Unknown pixels seed no dilation, and where they
    stay unknown they are neither building nor terrain.
    """
    strata: dict[str, Bools] = {}
    if "building" in masks:
        building = masks["building"]
        wide = dilated(building.is_class, dilation, pixel)
        known = building.is_class | building.is_other | wide
        strata["building"] = wide
        terrain = known & ~wide
        strata["terrain"] = terrain
        if "water" in masks:
            terrain = terrain & masks["water"].is_other
            strata["terrain_nowater"] = terrain
            if "forest" in masks:
                strata["terrain_nowater_noforest"] = terrain & masks["forest"].is_other
        if "forest" in masks:
            strata["terrain_noforest"] = known & ~wide & masks["forest"].is_other
        strata["building_undilated"] = building.is_class
        strata["building_border"] = wide & ~eroded(building.is_class, dilation, pixel)
    for name, mask in masks.items():
        if name != "building":
            strata[name] = mask.is_class
    return strata


def slope_strata(
    slope_rad: NDArray[np.float64], edges: Sequence[float] = (0, 10, 25, 50, 90), unit: str = "percent"
) -> dict[str, Bools]:
    """Return classes [a, b) of the slope, the last one open; NaN slopes are in none.

    Parameters
    ----------
    slope_rad
        Slope of the reference, radians [rows, cols].
    edges
        Lower edges.
    unit
        ``percent`` (100 tan), ``degree``, or ``demcompare``: 100 x the angle in radians, which that tool labels %.
    """
    if unit == "percent":
        values = 100 * np.tan(slope_rad)
    elif unit == "degree":
        values = np.degrees(slope_rad)
    elif unit == "demcompare":
        values = 100 * slope_rad
    else:
        raise InputError(f"Slope classes are in percent, degree or demcompare, got {unit!r}.")
    suffix = "deg" if unit == "degree" else "pct"
    strata = {}
    for low, high in zip(edges, [*edges[1:], np.inf], strict=True):
        with np.errstate(invalid="ignore"):
            strata[f"slope_{low:g}_{high:g}_{suffix}"] = (values >= low) & (values < high)
    return strata
