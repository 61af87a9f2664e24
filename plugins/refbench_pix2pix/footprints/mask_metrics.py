"""Scores of a building mask against the true one: fractions of pixels, and the measures of salient object detection.

Masks are uint8 [rows, cols] levels from 0 to 255; the true one counts as building above ``MIDDLE``. ``valid`` is bool
[rows, cols], the pixels that count; None stands for all of them. A score without any pixel is NaN.

S-measure: Fan et al., ICCV 2017. E-measure: Fan et al., IJCAI 2018. Both from counts, as are the curves: one histogram
stands for all 256 thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Levels = NDArray[np.uint8]
    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

MIDDLE = 128
THRESHOLDS = 256
BETA = 0.1
"""Weight of the precision in F; used as it is, not squared."""
EPS = float(np.spacing(1.0))


def fraction_scores(predicted: Levels, reference: Levels, valid: Bools | None = None) -> dict[str, float]:
    """Return ``mae`` (mean |difference| of the masks / 255), ``dice`` and ``iou`` of one tile.

    Dice is that of the pixels at 255 and 0 where both masks are empty; IoU is that of the levels above ``MIDDLE`` and
    NaN where both are empty.
    """
    found, true = _counted(predicted, valid), _counted(reference, valid)
    if not true.size:
        return dict.fromkeys(("mae", "dice", "iou"), float("nan"))
    difference = found.astype(np.int64) - true
    full = np.count_nonzero(found == 255) + np.count_nonzero(true == 255)
    both_full = np.count_nonzero((found == 255) & (true == 255))
    union = np.count_nonzero((found > MIDDLE) | (true > MIDDLE))
    both = np.count_nonzero((found > MIDDLE) & (true > MIDDLE))
    return {
        "mae": float(np.abs(difference).sum()) / 255 / true.size,
        "dice": 2 * both_full / full if full else 0.0,
        "iou": both / union if union else float("nan"),
    }


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores of one tile at the thresholds 255, 254 ... 0 of the stretched prediction; float64 [256] each."""

    iou: Floats
    f_beta: Floats
    dice: Floats
    e_measure: Floats


def stretched(predicted: Levels, valid: Bools | None = None) -> Floats:
    """Return the levels / 255 with their counted range stretched to [0, 1]; a constant mask stays as it is."""
    values = predicted / 255.0
    counted = _counted(values, valid)
    if not counted.size or counted.min() == counted.max():
        return values
    low, high = counted.min(), counted.max()
    return np.asarray((values - low) / (high - low), np.float64)


def curves(predicted: Levels, reference: Levels, valid: Bools | None = None) -> Curves:
    """Return the curves of one tile; all NaN where no pixel counts."""
    true = _counted(reference, valid) > MIDDLE
    if not true.size:
        return Curves(*(np.full(THRESHOLDS, np.nan) for _ in range(4)))
    levels = (_counted(stretched(predicted, valid), valid).clip(0, 1) * 255).astype(np.uint8)
    hits, false = _cumulated(levels[true]), _cumulated(levels[~true])
    total, building = true.size, int(np.count_nonzero(true))
    precision, recall = _ratio(hits, hits + false), _ratio(hits, np.full(THRESHOLDS, building, np.float64))
    return Curves(
        iou=_ratio(hits, false + building),
        f_beta=_ratio((1 + BETA) * precision * recall, BETA * precision + recall),
        dice=_ratio(2 * hits, hits + false + building),
        e_measure=_e_curve(hits, false, building, total),
    )


def s_measure(predicted: Levels, reference: Levels, valid: Bools | None = None) -> float:
    """Return the S-measure of one tile: half similarity of the objects, half similarity of the four regions.

    The published code gives NaN for an object of one pixel and for an object in the last row or column only; here a
    deviation of one value is 0, and a region without pixels weighs nothing.
    """
    values, true = stretched(predicted, valid), reference > MIDDLE
    counted, building = _counted(values, valid), _counted(true, valid)
    if not building.size:
        return float("nan")
    fraction = float(building.mean())
    if fraction == 0.0:
        return float(1 - counted.mean())
    if fraction == 1.0:
        return float(counted.mean())
    objects = fraction * _object_similarity(counted[building]) + (1 - fraction) * _object_similarity(
        1 - counted[~building]
    )
    return max(0.0, float(0.5 * objects + 0.5 * _regions(values, true, valid)))


def sod_scores(predicted: Levels, reference: Levels, valid: Bools | None = None) -> dict[str, float]:
    """Return ``sod_iou``, ``sod_f1``, ``sod_dice`` and ``sod_em`` (means of the curves), ``sod_sm`` and ``sod_mae``."""
    found = curves(predicted, reference, valid)
    true = _counted(reference, valid) > MIDDLE
    error = np.abs(_counted(stretched(predicted, valid), valid) - true)
    return {
        "sod_iou": float(found.iou.mean()),
        "sod_f1": float(found.f_beta.mean()),
        "sod_dice": float(found.dice.mean()),
        "sod_sm": s_measure(predicted, reference, valid),
        "sod_em": float(found.e_measure.mean()),
        "sod_mae": float(error.mean()) if error.size else float("nan"),
    }


def mean_scores(tiles: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every score over the tiles; tiles where it is NaN do not count, NaN where none does."""
    found: dict[str, float] = {}
    for key in tiles[0] if tiles else ():
        known = np.array([scores[key] for scores in tiles], np.float64)
        known = known[np.isfinite(known)]
        found[key] = float(known.mean()) if known.size else float("nan")
    return found


def _counted(values: NDArray[Any], valid: Bools | None) -> NDArray[Any]:
    """Return the values that count, flat."""
    return values.ravel() if valid is None else values[valid]


def _cumulated(levels: Levels) -> Floats:
    """Return how many levels reach each threshold, from 255 down to 0."""
    return np.cumsum(np.bincount(levels, minlength=THRESHOLDS)[::-1]).astype(np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return the quotient, 0 where the denominator is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _e_curve(hits: Floats, false: Floats, building: int, total: int) -> Floats:
    """Return the E-measure at every threshold: alignment of the two masks without their means, squared."""
    chosen, norm = hits + false, total - 1 + EPS
    if building == 0:
        return np.asarray((total - chosen) / norm, np.float64)
    if building == total:
        return np.asarray(chosen / norm, np.float64)
    mean, true_mean = chosen / total, building / total
    summed = np.zeros(THRESHOLDS)
    # The pixels fall into four groups: chosen or not, building or not.
    groups = ((hits, 1, 1), (false, 1, 0), (building - hits, 0, 1), (total - building - false, 0, 0))
    for count, value, reference in groups:
        a, b = value - mean, reference - true_mean
        aligned = 2 * a * b / (a * a + b * b + EPS)
        summed += count * (aligned + 1) ** 2 / 4
    return np.asarray(summed / norm, np.float64)


def _object_similarity(values: Floats) -> float:
    """Return 2 m / (m^2 + 1 + s + eps) of the values of one object."""
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean * mean + 1 + deviation + EPS)


def _regions(values: Floats, true: Bools, valid: Bools | None) -> float:
    """Return the similarity of the four parts around the centroid of the buildings, weighed by their pixels."""
    counts = np.ones(true.shape, np.bool_) if valid is None else valid
    row, col = (int(np.round(c.mean())) + 1 for c in np.nonzero(true & counts))
    total, found = np.count_nonzero(counts), 0.0
    for rows in (slice(row), slice(row, None)):
        for cols in (slice(col), slice(col, None)):
            inside = counts[rows, cols]
            if number := np.count_nonzero(inside):
                x, y = values[rows, cols][inside], true[rows, cols][inside]
                found += number / total * _similarity(x, y.astype(np.float64))
    return found


def _similarity(x: Floats, y: Floats) -> float:
    """Return the structural similarity of two lists of values."""
    x_mean, y_mean, norm = float(x.mean()), float(y.mean()), x.size - 1 + EPS
    dx, dy = x - x_mean, y - y_mean
    x_var, y_var, covariance = (float((p * q).sum()) / norm for p, q in ((dx, dx), (dy, dy), (dx, dy)))
    above = 4 * x_mean * y_mean * covariance
    below = (x_mean**2 + y_mean**2) * (x_var + y_var)
    if above != 0:
        return above / (below + EPS)
    return 1.0 if below == 0 else 0.0
