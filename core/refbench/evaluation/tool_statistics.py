"""The numbers that other tools print, under their own keys, so that tables can be compared.

Signs differ: demcompare takes reference - evaluated, everyone else evaluated - reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.slope import horn_gradient, slope_rad
from refbench.evaluation.statistics import statistics
from refbench.evaluation.strata import slope_strata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affine import Affine
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

OUTLIER_SIGMA = 3.0


def xdem_statistics(residuals: Floats, inlier: Bools | None = None) -> dict[str, float]:
    """Return what xdem's ``get_stats`` gives for residuals [rows, cols], NaN where unknown.

    ``LE90`` there is the full width P95 - P5, ``90th percentile`` that of the signed residual.
    """
    valid = np.isfinite(residuals)
    picked = residuals[valid if inlier is None else valid & inlier]
    values = statistics(picked)
    found: dict[str, Any] = {
        "Mean": values["bias"],
        "Median": values["median"],
        "Max": values["max"],
        "Min": values["min"],
        "Sum": float(picked.sum()),
        "Sum of squares": float(np.sum(picked**2)),
        "90th percentile": float(np.percentile(picked, 90)) if picked.size else None,
        "LE90": values["range90"],
        "IQR": values["iqr"],
        "NMAD": values["nmad"],
        "RMSE": values["rmse"],
        "Standard deviation": values["std"],
        "Valid count": int(valid.sum()),
        "Total count": residuals.size,
        "Percentage valid points": 100 * valid.sum() / residuals.size,
    }
    if inlier is not None:
        found["Valid inlier count"] = picked.size
        found["Total inlier count"] = int(inlier.sum())
        found["Percentage inlier points"] = 100 * picked.size / valid.sum()
        found["Percentage valid inlier points"] = 100 * picked.size / inlier.sum()
    return found


def demcompare_statistics(
    evaluated: Floats,
    reference: Floats,
    transform: Affine,
    edges: tuple[float, ...],
    building: Mapping[str, Bools],
    *,
    remove_outliers: bool = False,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return demcompare's statistics of two surfaces [rows, cols], NaN where unknown: global, by mask, by slope.

    Parameters
    ----------
    evaluated, reference
        Heights in metres.
    transform
        (col, row) of pixel corners to metres.
    edges
        Lower edges of its slope classes, compared with 100 x the slope angle in radians of the reference, whose
        border is replicated.
    building
        Name to mask [rows, cols] of the classes of its segmentation layer.
    remove_outliers
        Drop residuals further than three standard deviations from the mean, once and globally; its ``nbpts`` still
        counts them.
    """
    residuals = reference - evaluated
    valid = np.isfinite(residuals)
    kept = valid
    if remove_outliers:
        picked = residuals[valid]
        with np.errstate(invalid="ignore"):
            kept = valid & (np.abs(residuals - picked.mean()) <= OUTLIER_SIGMA * picked.std())
    angle = slope_rad(*horn_gradient(reference, transform, replicate=True))
    classes = slope_strata(angle, edges, unit="demcompare")
    layers = {"global": {"all": np.ones(valid.shape, np.bool_)}, "building_segmentation": building, "slope": classes}
    return {
        layer: {
            name: _demcompare(residuals[kept & where], int((valid & where).sum()), residuals.size)
            for name, where in members.items()
        }
        for layer, members in layers.items()
    }


def _demcompare(residuals: Floats, points: int, cells: int) -> dict[str, float]:
    values: dict[str, Any] = statistics(residuals)
    return {
        "nbpts": points,
        "percent_valid_points": 100 * points / cells,
        "mean": values["bias"],
        "median": values["median"],
        "max": values["max"],
        "min": values["min"],
        "sum": float(residuals.sum()),
        "squared_sum": float(np.sum(residuals**2)),
        "std": values["std"],
        "rmse": values["rmse"],
        "nmad": values["nmad"],
        "percentil_90": values["p90_about_mean"],
    }
