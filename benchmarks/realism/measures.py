"""How an initial DSM differs from its reference: the columns of the realism table.

Residual e = input - reference after its median is removed, metres. The figures describe a kind of error; they are the
only use that is made of real references while training data are designed.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FLAT_SLOPE, FLAT_REACH_M, FLAT_STEP_M = 0.10, 3.0, 0.5
"""Flat ground: reference slope below 10 % within 3 m, and no step above 0.5 m there."""
HIGH_PASS_M = 1.0
GAIN_LAG_M, GAIN_STEPS_M = 2.0, (1.5, 12.0)
FAR_M = 2.0
LONGEST_LAG_M = 30.0
FEWEST = 200
"""Pixels of flat ground below which its columns stay empty."""


@dataclass(frozen=True, slots=True)
class Realism:
    """One row of the table; NaN where there is too little ground to tell."""

    flat_nmad: float
    """NMAD on flat ground, metres."""
    correlation_m: float
    """Lag where the autocorrelation of flat residuals falls to 1/e, metres."""
    high_frequency: float
    """Variance of flat residuals minus their Gaussian mean of sigma 1 m, over their variance."""
    below: float
    """Fraction of common pixels with e < -2 m."""
    above: float
    """Fraction of common pixels with e > +2 m."""
    step_gain: float
    """Regression of 2 m height differences of the input on the reference's where those are 1.5 to 12 m."""
    holes: float
    """Fraction of the reference without input."""

    def values(self) -> tuple[float, ...]:
        """Return the columns in order."""
        return astuple(self)


COLUMNS = tuple(field.name for field in fields(Realism))


def realism(initial: NDArray[np.float32], reference: NDArray[np.float32], gsd: float) -> Realism:
    """Return the figures of ``initial`` against ``reference``, both [rows, cols] metres on one grid, NaN unknown."""
    common = np.isfinite(initial) & np.isfinite(reference)
    known = int(np.isfinite(reference).sum())
    if not common.any():
        return Realism(*[np.nan] * 6, 1.0)
    e = initial.astype(np.float64) - reference
    e -= np.median(e[common])
    flat = flat_ground(reference, gsd) & common
    noise = np.where(flat, e, np.nan)
    nmad = _nmad(noise[flat]) if flat.sum() >= FEWEST else np.nan
    # Things that stand on flat ground in one surface only are no noise.
    quiet = flat & (np.abs(e) < 3 * nmad + 0.5) if np.isfinite(nmad) else np.zeros_like(flat)
    return Realism(
        nmad,
        _correlation_m(np.where(quiet, e, np.nan), gsd),
        _high_frequency(np.where(quiet, e, np.nan), gsd),
        float((e[common] < -FAR_M).mean()),
        float((e[common] > FAR_M).mean()),
        _step_gain(initial, reference, gsd),
        1.0 - float(common.sum()) / known,
    )


def flat_ground(reference: NDArray[np.float32], gsd: float) -> Bools:
    """Return where the reference is flat: by the plane through what is known within 3 m, without a step there.

    A plane, because the noise of a LiDAR surface alone is steeper than 10 % from pixel to pixel.
    """
    known = np.isfinite(reference)
    reach = max(1, round(FLAT_REACH_M / gsd))
    side = 2 * reach + 1
    z = np.where(known, reference, 0.0).astype(np.float64)
    z -= float(z[known].mean()) if known.any() else 0.0
    row, col = np.indices(z.shape, dtype=np.float64) * gsd
    mean = {"": _box(known.astype(np.float64), side)}
    for name, layer in {"x": col, "y": row, "z": z, "xz": col * z, "yz": row * z, "xx": col**2, "yy": row**2}.items():
        mean[name] = _box(np.where(known, layer, 0.0), side) / np.maximum(mean[""], 1e-9)
    # Least squares per axis; the windows are near enough to symmetric for x and y to be uncorrelated.
    along = [
        (mean[f"{a}z"] - mean[a] * mean["z"]) / np.maximum(mean[f"{a}{a}"] - mean[a] ** 2, 1e-9) for a in ("x", "y")
    ]
    is_step = np.zeros(z.shape, np.bool_)
    for axis in (0, 1):
        jump = np.abs(np.diff(reference, axis=axis)) > FLAT_STEP_M
        is_step |= np.pad(jump, [(0, int(axis == 0)), (0, int(axis == 1))])
    near_step = ndimage.maximum_filter(is_step, side)
    return np.asarray(known & (mean[""] > 0.5) & (np.hypot(*along) < FLAT_SLOPE) & ~near_step, np.bool_)


def _box(values: Floats, side: int) -> Floats:
    return np.asarray(ndimage.uniform_filter(values, side, mode="constant"))


def _nmad(values: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _correlation_m(e: Floats, gsd: float) -> float:
    """Return the lag, linear between pixels, where the autocorrelation along rows and columns falls to 1/e."""
    known = np.isfinite(e)
    if known.sum() < FEWEST or not e[known].std():
        return float("nan")
    centred = np.where(known, e - e[known].mean(), 0.0)
    variance = float((centred**2).sum() / known.sum())
    before = 1.0
    for lag in range(1, round(LONGEST_LAG_M / gsd) + 1):
        product = pairs = 0.0
        for axis in (0, 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(lag, None), slice(None, -lag)
            product += float((centred[tuple(ahead)] * centred[tuple(behind)]).sum())
            pairs += float((known[tuple(ahead)] & known[tuple(behind)]).sum())
        if pairs < FEWEST:
            return float("nan")
        value = product / pairs / variance
        if value <= np.exp(-1):
            return gsd * (lag - 1 + (before - np.exp(-1)) / (before - value))
        before = value
    return LONGEST_LAG_M


def _high_frequency(e: Floats, gsd: float) -> float:
    known = np.isfinite(e)
    if known.sum() < FEWEST or not e[known].std():
        return float("nan")
    sigma = HIGH_PASS_M / gsd
    # The Gaussian mean of what is known: values and weights are smoothed alike.
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma)
    smooth = ndimage.gaussian_filter(np.where(known, e, 0.0), sigma) / np.maximum(weight, 1e-9)
    return float((e - smooth)[known].var() / e[known].var())


def _step_gain(initial: NDArray[np.float32], reference: NDArray[np.float32], gsd: float) -> float:
    lag = max(1, round(GAIN_LAG_M / gsd))
    product = square = 0.0
    for axis in (0, 1):
        have, want = (
            np.take(z, range(lag, z.shape[axis]), axis).astype(np.float64)
            - np.take(z, range(z.shape[axis] - lag), axis)
            for z in (initial, reference)
        )
        step = (np.abs(want) >= GAIN_STEPS_M[0]) & (np.abs(want) <= GAIN_STEPS_M[1]) & np.isfinite(have)
        product += float((have[step] * want[step]).sum())
        square += float((want[step] ** 2).sum())
    return product / square if square else float("nan")
