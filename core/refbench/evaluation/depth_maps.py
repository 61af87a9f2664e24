"""Scores of depth maps in camera space: depth is z in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALIGNMENTS = ("none", "median", "least_squares")
LIMITS_M = (4.0, 7.0, 10.0, 15.0)
LIMITED = {"rmse": "rmse", "mae": "mae", "relative_l1": "abs_rel", "inverse_l1": "inverse_l1", "delta_1": "delta_1"}
DELTA = 1.25


def aligned(depth: Floats, reference: Floats, how: str) -> Floats:
    """Return depths [N] after alignment: ``none``, ``median`` scaling, or ``least_squares`` scale and shift."""
    if how == "none" or depth.size == 0:
        return depth
    if how == "median":
        return depth * float(np.median(reference) / np.median(depth))
    if how == "least_squares":
        design = np.column_stack([depth, np.ones_like(depth)])
        scale, shift = np.linalg.lstsq(design, reference, rcond=None)[0]
        return np.asarray(depth * scale + shift, np.float64)
    raise InputError(f"Depth maps are aligned by one of {', '.join(ALIGNMENTS)}, got {how!r}.")


def depth_scores(
    depth: NDArray[np.float32], reference: NDArray[np.float32], alignment: str = "none"
) -> dict[str, float | int | str | None]:
    """Return the scores of a depth map [rows, cols] on pixels that are finite and positive in both."""
    with np.errstate(invalid="ignore"):
        both = np.isfinite(depth) & np.isfinite(reference) & (depth > 0) & (reference > 0)
        known = np.isfinite(reference) & (reference > 0)
    truth = reference[both].astype(np.float64)
    found = aligned(depth[both].astype(np.float64), truth, alignment)
    counts: dict[str, float | int | str | None] = {"n": int(both.sum()), "alignment": alignment}
    counts["completeness_valid"] = both.sum() / known.sum() if known.any() else None
    keys = ("abs_rel", "sq_rel", "rmse", "mae", "rmse_log", "inverse_l1", "delta_1", "delta_2", "delta_3")
    if truth.size == 0:
        return {**counts, **dict.fromkeys(keys)}
    error = found - truth
    positive = np.maximum(found, np.finfo(np.float64).tiny)  # a shift may push depths below zero
    worst = np.maximum(positive / truth, truth / positive)
    values: dict[str, Any] = {
        "abs_rel": np.mean(np.abs(error) / truth),
        "sq_rel": np.mean(error**2 / truth),
        "rmse": np.sqrt(np.mean(error**2)),
        "mae": np.mean(np.abs(error)),
        "rmse_log": np.sqrt(np.mean((np.log(positive) - np.log(truth)) ** 2)),
        "inverse_l1": np.mean(np.abs(1 / positive - 1 / truth)),
        **{f"delta_{k}": np.mean(worst < DELTA**k) for k in (1, 2, 3)},
    }
    return {**counts, **{key: float(values[key]) for key in keys}}


def limited_scores(depth: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, dict[str, float | None]]:
    """Return the scores where the reference is at most 4, 7, 10, 15 m, with the depth clamped to that bound."""
    found = {}
    for limit in LIMITS_M:
        near = np.where(reference <= limit, reference, np.float32(np.nan))
        scores = depth_scores(np.minimum(depth, np.float32(limit)), near)
        picked = {
            "rmse": "rmse",
            "mae": "mae",
            "relative_l1": "abs_rel",
            "inverse_l1": "inverse_l1",
            "delta_1": "delta_1",
        }
        found[f"{limit:g}m"] = {key: scores[name] for key, name in picked.items()}
    return found  # type: ignore[return-value]  # the picked scores are numbers or None
