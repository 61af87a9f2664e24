"""The horizontal shift between two surfaces: Nuth and Kääb's start, then robust least squares.

Nuth, C. and Kääb, A.: Co-registration and bias corrections of satellite elevation data sets for quantifying glacier
thickness change, The Cryosphere 5, 271-290 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from refbench.contracts.errors import InputError
from refbench.evaluation.residuals import Residuals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

MIN_SAMPLES = 500
MAX_PX = 25.0
_BINS = 72
_START_ROUNDS, _START_PX = 10, 0.02
_ROUNDS = 20
_TUKEY = 4.685
"""Tukey's biweight at 95 % efficiency for normal errors, in robust standard deviations."""
_FLAT, _STEEPEST = 1e-3, 0.8
_NO_RELIEF = "The reference has too little relief to tell a horizontal shift by."


class Sampled(Protocol):
    """A surface to align, read at the sample points of the reference."""

    def at(self, shift: Floats) -> Floats:
        """Return its heights [N] at the points after it moved by ``shift`` (east, north) metres; NaN where unknown."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Points of the reference: heights, slopes, and the pixel that thresholds are counted in."""

    heights: Floats
    """float64 [N], metres."""
    east: Floats
    """dz/dx [N], metres a metre."""
    north: Floats
    """dz/dy [N], metres a metre."""
    gsd: float
    """Metres."""

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Return the points of one or several parts of one reference."""
        if len(parts) == 1:
            return parts[0]
        heights, east, north = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("heights", "east", "north")
        )
        return cls(heights, east, north, parts[0].gsd)


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Shift (east, north) in metres that lays the surface on the reference, its standard error, and the rounds."""

    shift: Floats
    error_m: float
    rounds: int


def solve_shift(surface: Sampled, samples: Samples, stop_px: float = 1e-3) -> Solution:
    """Return the shift by which a surface has to move to lie on the reference, iterated to ``stop_px`` pixels.

    Raises
    ------
    InputError
        Fewer than ``MIN_SAMPLES`` common points, no relief, or no convergence within ``MAX_PX`` pixels.
    """
    shift, rounds = np.zeros(2), 0
    for _ in range(_START_ROUNDS):
        rounds += 1
        step = _start_step(_compared(surface, samples, shift))
        shift = shift + step
        if np.hypot(*step) < max(_START_PX, 10 * stop_px) * samples.gsd:
            break
    error = np.inf
    for _ in range(_ROUNDS):
        rounds += 1
        step, error = _fine_step(_compared(surface, samples, shift))
        shift = shift + step
        if np.hypot(*step) < stop_px * samples.gsd:
            break
        if np.hypot(*shift) > MAX_PX * samples.gsd:
            raise InputError(
                f"Coregistration diverged (shift above {MAX_PX:g} px): the two DSMs show no common relief."
            )
    return Solution(shift, error, rounds)


def residuals_at(surface: Sampled, samples: Samples, shift: Floats) -> Floats:
    """Return moved minus reference [<= N], metres, where both are known."""
    return _compared(surface, samples, shift).e


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """Residuals and slopes [n] of the points that both know."""

    e: Floats
    east: Floats
    north: Floats
    gsd: float


def _compared(surface: Sampled, samples: Samples, shift: Floats) -> _Compared:
    e = surface.at(shift) - samples.heights
    keep = np.isfinite(e)
    count = np.count_nonzero(keep)
    if count < MIN_SAMPLES:
        raise InputError(f"The DSM and the reference share {count} stable pixels; coregistration needs {MIN_SAMPLES}.")
    return _Compared(e[keep], samples.east[keep], samples.north[keep], samples.gsd)


def _start_step(of: _Compared) -> Floats:
    """Return Nuth and Kääb's step in metres: the cosine of aspect in the medians of dh / tan(slope)."""
    tangent = np.hypot(of.east, of.north)
    rise = tangent * of.gsd  # metres a pixel
    relief = rise > _FLAT
    if np.count_nonzero(relief) < MIN_SAMPLES:
        raise InputError(_NO_RELIEF)
    # In a town most slopes are noise on flat ground, whose ratio says nothing: the steeper ones decide.
    steep = rise > min(nmad_of(of.e), float(np.quantile(rise[relief], _STEEPEST)))
    ratio = (of.e[steep] - np.median(of.e)) / tangent[steep]
    uphill = np.arctan2(of.east[steep], of.north[steep])  # clockwise from north
    bins = ((uphill + np.pi) / (2 * np.pi) * _BINS).astype(np.int64) % _BINS
    centres, medians = [], []
    for number in range(_BINS):
        found = ratio[bins == number]
        if found.size:
            centres.append((number + 0.5) / _BINS * 2 * np.pi - np.pi)
            medians.append(float(np.median(found)))
    angle = np.array(centres)
    design = np.column_stack([np.sin(angle), np.cos(angle), np.ones(angle.size)])
    # A surface that lies s east of the reference has residuals -s dz/dx: moving it by the fitted amount undoes it.
    solution = np.linalg.lstsq(design, np.array(medians), rcond=None)[0]
    return np.asarray(solution[:2], np.float64)


def _fine_step(of: _Compared) -> tuple[Floats, float]:
    """Return a Gauss-Newton step on the steepest fifth, by Tukey's biweight, and the shift's standard error, metres."""
    # Flat ground tells of no shift, and its small residuals would set a scale by which all edges are outliers.
    rise = np.hypot(of.east, of.north)
    steep = rise >= np.quantile(rise, _STEEPEST)
    of = _Compared(of.e[steep], of.east[steep], of.north[steep], of.gsd)
    centred = of.e - np.median(of.e)
    scale = max(nmad_of(centred), 1e-9)
    fraction = centred / (_TUKEY * scale)
    weight = np.where(np.abs(fraction) < 1, (1 - fraction**2) ** 2, 0.0)
    design = np.column_stack([of.east, of.north, np.ones(of.east.size)])
    normal = design.T @ (design * weight[:, None])
    if np.linalg.cond(normal) > 1e12:
        raise InputError(_NO_RELIEF)
    inverse = np.linalg.inv(normal)
    step = np.asarray((inverse @ (design.T @ (weight * of.e)))[:2], np.float64)
    return step, float(scale * np.sqrt(inverse[0, 0] + inverse[1, 1]))


def nmad_of(residuals: Floats) -> float:
    """Return the NMAD of residuals [N] in any order."""
    return Residuals(np.sort(residuals), residuals.size).spread(float(np.median(residuals)))
