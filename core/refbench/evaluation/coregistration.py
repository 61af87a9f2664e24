"""Nuth and Kääb's coregistration of two DSMs, refined by robust least squares on cubic interpolation.

Nuth, C. and Kääb, A.: Co-registration and bias corrections of satellite elevation data sets for quantifying glacier
thickness change, The Cryosphere 5, 271-290 (2011).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from scipy import ndimage

from refbench.contracts.errors import InputError
from refbench.contracts.raster import DSM
from refbench.evaluation.residuals import Residuals
from refbench.geometry.warp import warp_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.contracts.raster import Mask

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

UNSTABLE = ("water", "forest")
"""Masks that are no stable ground."""
MIN_SAMPLES = 500
_BINS = 72
_START_ROUNDS, _START_PX = 10, 0.02
_ROUNDS, _STOP_PX = 20, 1e-3
_TUKEY = 4.685
_FLAT, _STEEPEST = 1e-3, 0.8
_MAX_PX = 25.0


@dataclass(frozen=True, slots=True)
class Shift:
    """What has to be added to a DSM's coordinates and heights, in metres, and how it was found."""

    east_m: float
    north_m: float
    up_m: float
    samples: int
    iterations: int
    nmad_before: float
    nmad_after: float

    def values(self) -> dict[str, Any]:
        """Return the shift as JSON-ready values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Shift:
        """Return the shift that ``values`` gave."""
        return cls(**values)

    def __str__(self) -> str:
        return f"{self.east_m:+.3f} m east, {self.north_m:+.3f} m north, {self.up_m:+.3f} m up"


def shifted(dsm: DSM, shift: Shift) -> DSM:
    """Return a DSM moved by a shift: its grid in the plane, its heights up."""
    grid = replace(dsm.grid, transform=_moved(dsm.grid.transform, shift))
    return DSM(dsm.heights + np.float32(shift.up_m), grid)


def _moved(transform: Affine, shift: Shift) -> Affine:
    a, b, c, d, e, f = tuple(transform)[:6]
    return Affine(a, b, c + shift.east_m, d, e, f + shift.north_m)


def coregister(to_align: DSM, reference: DSM, masks: Mapping[str, Mask] | None = None) -> Shift:
    """Return the shift that lays ``to_align`` on ``reference``.

    Parameters
    ----------
    to_align
        The DSM to move; in the CRS of the reference.
    reference
        The truth; slopes and samples are its own.
    masks
        Class masks by name: what is water or forest takes no part.

    Raises
    ------
    InputError
        Grids of different CRS, rotated grids, or too little common ground with relief to tell a shift by.
    """
    pair = _Pair(to_align, reference, masks or {})
    shift, rounds = np.zeros(2), 0
    before = pair.residuals(shift)
    for _ in range(_START_ROUNDS):
        rounds += 1
        step = pair.start_step(shift)
        shift = shift + step
        if np.hypot(*step) < _START_PX:
            break
    for _ in range(_ROUNDS):
        rounds += 1
        step = pair.fine_step(shift)
        shift = shift + step
        if np.hypot(*step) < _STOP_PX:
            break
        if np.hypot(*shift) > _MAX_PX:
            raise InputError(f"Coregistration ran away beyond {_MAX_PX:g} pixels: the two DSMs show no common relief.")
    after = pair.residuals(shift)
    width, height = reference.grid.resolution
    return Shift(
        float(shift[0] * width),
        float(shift[1] * height),
        -float(np.median(after)),
        int(after.size),
        rounds,
        _nmad(before),
        _nmad(after),
    )


class _Pair:
    """Both surfaces, in pixels of the reference; shifts are (east, north) in its pixels."""

    def __init__(self, to_align: DSM, reference: DSM, masks: Mapping[str, Mask]) -> None:
        grid = reference.grid
        if None not in (to_align.grid.crs, grid.crs) and to_align.grid.crs != grid.crs:
            raise InputError("Only DSMs of one CRS are coregistered; reproject one of them first.")
        known = to_align.valid
        if known.sum() < MIN_SAMPLES:
            raise InputError(f"The DSM to align has {known.sum()} known heights; coregistration needs {MIN_SAMPLES}.")
        # Cubic splines know no holes: they are filled, and what touches a filled pixel does not count.
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        heights = to_align.heights.astype(np.float64)[tuple(nearest)]
        self._offset = float(np.median(heights))
        self._spline = ndimage.spline_filter(heights - self._offset, order=3, mode="nearest")
        self._known = ndimage.binary_erosion(known, np.ones((3, 3), np.bool_), border_value=0).astype(np.float32)
        x, y = grid.centres()
        col, row = to_align.grid.pixel_of(x, y)
        self._col, self._row = col - 0.5, row - 0.5
        scale = np.array(grid.resolution) / np.array(to_align.grid.resolution)
        self._px_east, self._px_north = float(scale[0]), float(scale[1])
        self._truth = reference.heights.astype(np.float64) - self._offset
        down, east = (np.asarray(slope, np.float64) for slope in np.gradient(self._truth))
        self._gradient = down, east
        self._stable = _stable(reference, masks) & np.isfinite(down) & np.isfinite(east)

    def at(self, shift: Floats) -> Floats:
        """Return the heights of the moved surface on the reference's grid, NaN where unknown."""
        # Features move east by ``shift``: the surface is read that much to the west.
        where = np.stack([self._row + shift[1] * self._px_north, self._col - shift[0] * self._px_east])
        heights = ndimage.map_coordinates(self._spline, where, order=3, prefilter=False, mode="nearest")
        known = ndimage.map_coordinates(self._known, where, order=1, mode="constant", cval=0.0)
        return np.where(known > 1 - 1e-6, heights, np.nan)

    def _compared(self, shift: Floats) -> tuple[Floats, Floats, Floats]:
        """Return residuals, dz/d(east px) and dz/d(north px) [N] of stable pixels; slopes are the reference's."""
        moved = self.at(shift)
        down, east = self._gradient
        keep = self._stable & np.isfinite(moved) & np.isfinite(self._truth)
        if np.count_nonzero(keep) < MIN_SAMPLES:
            raise InputError(
                f"Initial DSM and reference share {np.count_nonzero(keep)} stable pixels; coregistration needs "
                f"{MIN_SAMPLES}."
            )
        return (moved - self._truth)[keep], east[keep], -down[keep]

    def residuals(self, shift: Floats) -> Floats:
        """Return moved minus reference on stable pixels [N], metres."""
        return self._compared(shift)[0]

    def start_step(self, shift: Floats) -> Floats:
        """Return Nuth and Kääb's step: the cosine of aspect in the medians of dh / tan(slope)."""
        residuals, east, north = self._compared(shift)
        tangent = np.hypot(east, north)
        relief = tangent > _FLAT
        if np.count_nonzero(relief) < MIN_SAMPLES:
            raise InputError("The reference has too little relief to tell a horizontal shift by.")
        # In a town most slopes are noise on flat ground, whose ratio says nothing: the steeper ones decide.
        steep = tangent > min(_nmad(residuals), float(np.quantile(tangent[relief], _STEEPEST)))
        ratio = (residuals[steep] - np.median(residuals)) / tangent[steep]
        # Uphill direction, clockwise from north.
        uphill = np.arctan2(east[steep], north[steep])
        bins = ((uphill + np.pi) / (2 * np.pi) * _BINS).astype(np.int64) % _BINS
        centres, medians = [], []
        for number in range(_BINS):
            found = ratio[bins == number]
            if found.size:
                centres.append((number + 0.5) / _BINS * 2 * np.pi - np.pi)
                medians.append(float(np.median(found)))
        angle = np.array(centres)
        design = np.column_stack([np.sin(angle), np.cos(angle), np.ones(angle.size)])
        # A surface that lies s east of the truth has residuals -s dz/deast: moving it by the fitted amount undoes it.
        solution = np.linalg.lstsq(design, np.array(medians), rcond=None)[0]
        return np.asarray(solution[:2], np.float64)

    def fine_step(self, shift: Floats) -> Floats:
        """Return a Gauss-Newton step under Tukey's biweight."""
        residuals, east, north = self._compared(shift)
        centred = residuals - np.median(residuals)
        share = centred / (_TUKEY * max(_nmad(centred), 1e-9))
        weight = np.where(np.abs(share) < 1, (1 - share**2) ** 2, 0.0)
        design = np.column_stack([east, north, np.ones(east.size)])
        normal = design.T @ (design * weight[:, None])
        if np.linalg.cond(normal) > 1e12:
            raise InputError("The reference has too little relief to tell a horizontal shift by.")
        return np.asarray(np.linalg.solve(normal, design.T @ (weight * residuals))[:2], np.float64)


def _nmad(residuals: Floats) -> float:
    return Residuals(np.sort(residuals), residuals.size).spread(float(np.median(residuals)))


def _stable(reference: DSM, masks: Mapping[str, Mask]) -> Bools:
    stable = np.ones(reference.grid.shape, np.bool_)
    for name in UNSTABLE:
        if name in masks:
            mask = masks[name]
            mask = mask if mask.grid is None or mask.grid == reference.grid else warp_mask(mask, reference.grid)
            stable &= ~mask.is_class
    return stable
