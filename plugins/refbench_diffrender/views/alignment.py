"""Offset and scale that carry a relative depth map to the depths of sparse points, in closed form.

Two families: quantiles of both sets (as published), and least squares of the error in disparity, 1 / depth, which is
what an error in the image comes from; RANSAC finds the points that such a fit should follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Kind = Literal["depth", "disparity"]
Quantile = Literal["median", "max"]
How = Literal["median", "max", "least_squares", "ransac"]

MIN_POINTS = 10
TRIALS = 500
TOLERANCE = 0.05
"""Relative depth error of a point that RANSAC still counts as fitting."""
REWEIGHTINGS = 20
SETTLED = 1e-9
FARTHEST = 1e-12
"""Smallest disparity that a depth is made of."""


@dataclass(frozen=True)
class Alignment:
    """How relative values become depths in metres."""

    offset: float
    scale: float
    kind: Kind = "depth"
    """Whether ``offset + scale * relative`` is a depth in metres or its inverse."""

    def depth(self, relative: Values) -> Values:
        """Return depths in metres of relative values, any shape."""
        found = self.offset + self.scale * np.asarray(relative, dtype=np.float64)
        return found if self.kind == "depth" else 1 / np.maximum(found, FARTHEST)


def usable_points(relative: Values, depths: Values, near_far: tuple[float, float]) -> tuple[Values, Values]:
    """Return the pairs of a positive depth, float64 [N] each, depths clipped to ``near_far`` in metres.

    Raises
    ------
    InputError
        Fewer than 10 pairs are left.
    """
    known = (depths != 0) & np.isfinite(depths) & np.isfinite(relative)
    number = int(known.sum())
    if number < MIN_POINTS:
        raise InputError(
            f"The depth map cannot be aligned: only {number} sparse points with a depth lie in the view and "
            f"{MIN_POINTS} are needed; give another view, a denser sparse model or a metric initial depth map."
        )
    return relative[known].astype(np.float64), np.clip(depths[known].astype(np.float64), *near_far)


def aligned(
    relative: Values,
    depths: Values,
    how: How,
    kind: Kind,
    rng: np.random.Generator,
    percentile: float = 0.001,
) -> Alignment:
    """Return the alignment of pairs [N] by the method ``how``; the other parameters as for the single methods.

    Raises
    ------
    InputError
        As the methods do: fewer than 10 pairs, no increasing relation.
    """
    _require_pairs(relative)
    if how == "ransac":
        return ransac_alignment(relative, depths, rng, kind)[0]
    if how == "least_squares":
        return least_squares_alignment(relative, depths, kind)
    wanted = depths if kind == "depth" else 1 / depths
    found = quantile_alignment(relative, wanted, percentile, how)[0]
    return Alignment(found.offset, found.scale, kind)


def quantile_alignment(
    relative: Values, depths: Values, percentile: float, how: Quantile = "median"
) -> tuple[Alignment, Values, Values]:
    """Return the alignment that carries two quantiles of the relative values to those of the depths.

    Parameters
    ----------
    relative, depths
        Pairs of values [N], depths in metres; which belongs to which does not matter here.
    percentile
        Fraction of values below the low quantile, and above the high one.
    how
        ``median`` aligns the low quantile and the median, ``max`` the low and the high quantile.

    Returns
    -------
    The alignment, and the low, median and high values [3] of the depths and of the relative values.

    Raises
    ------
    InputError
        The relative values do not rise between the two quantiles, or the depths do not.
    """
    of_depths, of_relative = _quantiles(depths, percentile), _quantiles(relative, percentile)
    upper = 1 if how == "median" else 2
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (of_depths[upper] - of_depths[0]) / (of_relative[upper] - of_relative[0])
    offset = of_depths[upper] - scale * of_relative[upper]
    return _checked(offset, scale, "depth"), of_depths, of_relative


def _quantiles(values: Values, percentile: float) -> Values:
    ordered = np.sort(values)
    last = len(ordered) - 1
    low, high = (min(int(len(ordered) * fraction), last) for fraction in (percentile, 1 - percentile))
    return np.array([ordered[low], np.median(ordered), ordered[high]])


def map_alignment(relative: Values, depths: Values) -> Alignment:
    """Return the alignment to a whole depth map in metres (0: unknown): nearest depth, and ratio of medians."""
    known = depths[depths != 0].astype(np.float64)
    if known.size < MIN_POINTS:
        raise InputError("The depth map cannot be aligned: the metric depth map holds fewer than 10 depths.")
    offset = known.min()
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.median(known - offset) / np.median(relative)
    return _checked(offset, scale, "depth")


def least_squares_alignment(relative: Values, depths: Values, kind: Kind = "depth") -> Alignment:
    """Return the alignment with the smallest squared error in disparity.

    Parameters
    ----------
    relative, depths
        Pairs of values [N]; depths in metres, positive.
    kind
        What the relative values are linear in: ``depth``, or ``disparity`` (most monocular estimators).

    Raises
    ------
    InputError
        Fewer than 10 pairs, or no increasing relation.
    """
    _require_pairs(relative)
    relative, depths = relative.astype(np.float64), depths.astype(np.float64)
    if kind == "disparity":
        return _checked(*_line(relative, 1 / depths, np.ones_like(depths)), kind)
    line = _line(relative, depths, 1 / depths**2)
    for _ in range(REWEIGHTINGS):
        # An error in disparity is the error in depth over both depths, the given and the fitted one.
        fitted = np.maximum(line[0] + line[1] * relative, depths / 4)
        before, line = line, _line(relative, depths, 1 / (depths * fitted))
        if np.allclose(line, before, rtol=SETTLED, atol=0):
            break
    return _checked(*line, kind)


def ransac_alignment(
    relative: Values,
    depths: Values,
    rng: np.random.Generator,
    kind: Kind = "depth",
    *,
    tolerance: float = TOLERANCE,
    trials: int = TRIALS,
) -> tuple[Alignment, NDArray[np.bool_]]:
    """Return the alignment that most points agree with, fitted to those points alone, and which they are.

    Parameters
    ----------
    relative, depths
        Pairs of values [N]; depths in metres, positive.
    rng
        Draws the pairs of points that every trial looks at.
    kind
        As for ``least_squares_alignment``.
    tolerance
        Largest relative error of an agreeing point's depth.
    trials
        How many pairs are drawn.

    Returns
    -------
    The alignment, and the agreeing points, bool [N].

    Raises
    ------
    InputError
        Fewer than 10 points agree with any trial.
    """
    _require_pairs(relative)
    relative, depths = relative.astype(np.float64), depths.astype(np.float64)
    wanted = depths if kind == "depth" else 1 / depths
    one, two = rng.integers(len(relative), size=(2, trials))
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = (wanted[one] - wanted[two]) / (relative[one] - relative[two])
    usable = np.isfinite(scales) & (scales > 0)
    scales, offsets = scales[usable], (wanted[one] - scales * relative[one])[usable]
    votes = [int(_agreeing(o, s, relative, wanted, tolerance).sum()) for o, s in zip(offsets, scales, strict=True)]
    if not votes or max(votes) < MIN_POINTS:
        raise InputError(
            f"The depth map cannot be aligned: at most {max(votes, default=0)} of {len(relative)} sparse points agree "
            f"on one offset and scale within {tolerance:.0%}; raise the tolerance or check map, poses and points."
        )
    best = int(np.argmax(votes))
    agreeing = _agreeing(offsets[best], scales[best], relative, wanted, tolerance)
    return least_squares_alignment(relative[agreeing], depths[agreeing], kind), agreeing


def _agreeing(offset: float, scale: float, relative: Values, wanted: Values, tolerance: float) -> NDArray[np.bool_]:
    return np.abs(offset + scale * relative - wanted) <= tolerance * wanted


def _line(x: Values, y: Values, roots: Values) -> tuple[float, float]:
    """Return (offset, scale) of the line through (x, y) whose errors times ``roots`` have the least squares."""
    system = np.stack([np.ones_like(x), x], axis=1) * roots[:, None]
    (offset, scale), *_ = np.linalg.lstsq(system, y * roots, rcond=None)
    return float(offset), float(scale)


def _require_pairs(values: Values) -> None:
    if len(values) < MIN_POINTS:
        raise InputError(f"The depth map cannot be aligned to {len(values)} points: {MIN_POINTS} are needed.")


def _checked(offset: float, scale: float, kind: Kind) -> Alignment:
    if not (np.isfinite(offset) and np.isfinite(scale) and scale > 0):
        raise InputError(
            f"The depth map cannot be aligned: offset {offset:.4g} and scale {scale:.4g} do not make larger relative "
            f"values lie farther away; check that the map belongs to the view and whether it holds {_OTHER[kind]}."
        )
    return Alignment(float(offset), float(scale), kind)


_OTHER = {"depth": "disparities instead of depths", "disparity": "depths instead of disparities"}
