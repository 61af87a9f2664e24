"""Scores of depth maps in camera space: depth is z in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.evaluation.metrics import DEPTH
from refbench.evaluation.metrics.depth import DepthPair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALIGNMENTS = ("none", "median", "least_squares")


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
    """Return the metrics of a depth map [rows, cols] on pixels that are finite and positive in both, metres.

    Raises
    ------
    InputError
        There is no such alignment; see ``aligned``.
    """
    with np.errstate(invalid="ignore"):
        known = np.isfinite(reference) & (reference > 0)
        both = known & np.isfinite(depth) & (depth > 0)
    expected = reference[both].astype(np.float64)
    pair = DepthPair(aligned(depth[both].astype(np.float64), expected, alignment), expected, int(known.sum()))
    scores: dict[str, float | int | str | None] = {"n": int(expected.size), "alignment": alignment}
    for metric in DEPTH:
        value = metric.compute(pair) if expected.size or metric.key == "completeness_valid" else None
        scores[metric.key] = None if value is None else float(value)
    return scores
