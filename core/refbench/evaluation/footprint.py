"""Building footprints and volumes, as core3d-metrics defines them (IARPA CORE3D)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, spatial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]


def overlap_scores(tp: float, fp: float, fn: float) -> dict[str, float | None]:
    """Return completeness (recall), correctness (precision), F, Jaccard, branching FP/TP and miss FN/TP."""

    def ratio(part: float, whole: float) -> float | None:
        return part / whole if whole > 0 else None

    return {
        "recall": ratio(tp, tp + fn),
        "precision": ratio(tp, tp + fp),
        "jaccardIndex": ratio(tp, tp + fp + fn),
        "branchingFactor": ratio(fp, tp),
        "missFactor": ratio(fn, tp),
        "completeness": ratio(tp, tp + fn),
        "correctness": ratio(tp, tp + fp),
        "fscore": ratio(2 * tp, 2 * tp + fp + fn),
        "TP": float(tp),
        "FN": float(fn),
        "FP": float(fp),
    }


def footprint_scores(test: Bools, reference: Bools, ignored: Bools | None = None) -> dict[str, float | None]:
    """Return the 2D scores of two building masks [rows, cols] outside ``ignored``; counts are cells."""
    keep = np.ones(test.shape, np.bool_) if ignored is None else ~ignored
    tp, fp, fn = ((a & b & keep).sum() for a, b in ((test, reference), (test, ~reference), (~test, reference)))
    return overlap_scores(int(tp), int(fp), int(fn))


def volume_scores(
    test_height: Floats, reference_height: Floats, test: Bools, reference: Bools, ignored: Bools, cell: float
) -> dict[str, Any]:
    """Return the 3D scores: volumes in cubic metres.

    Parameters
    ----------
    test_height, reference_height
        DSM minus the *reference* DTM on both sides, metres [rows, cols].
    test, reference
        The building masks; heights count as 0 outside their own mask and where ignored.
    ignored
        Cells to leave out.
    cell
        Area of a pixel in square metres.
    """
    h_test = np.where(test & ~ignored, test_height, 0.0).astype(np.float64)
    h_ref = np.where(reference & ~ignored, reference_height, 0.0).astype(np.float64)
    flip = np.where(h_ref < 0, -1.0, 1.0)
    h_test, h_ref = h_test * flip, h_ref * flip
    above, below = np.maximum(h_test, 0), np.abs(np.minimum(h_test, 0))
    common = np.minimum(h_ref, above)
    tp, fn, fp = (float(v.sum()) * cell for v in (common, h_ref - common, above - common + below))
    return {
        "3D": overlap_scores(tp, fp, fn),
        "area": {
            "reference_area": float((reference & ~ignored).sum()),
            "test_area": float((test & ~ignored).sum()),
        },
        "volume": {
            "reference_volume": float(h_ref.sum()) * cell,
            "test_volume": float(np.abs(h_test).sum()) * cell,
        },
    }


def perimeter(mask: Bools, ignored: Bools) -> Bools:
    """Return the cells of a mask whose 3 x 3 sum is below 9, without those near ignored cells."""
    inside = mask & ~ignored
    total = ndimage.convolve(inside.astype(np.int64), np.ones((3, 3), np.int64), mode="constant")
    return np.asarray(inside & (total < 9) & ~ndimage.binary_dilation(ignored, np.ones((3, 3))))


def horizontal_errors(test: Bools, reference: Bools, ignored: Bools, pixel: tuple[float, float]) -> Floats:
    """Return the distance in metres from each reference perimeter cell to the nearest test perimeter cell, [N].

    ``pixel`` is the size of a pixel in metres, down the rows and along the columns.
    """
    here, there = np.argwhere(perimeter(reference, ignored)), np.argwhere(perimeter(test, ignored))
    if not len(here) or not len(there):
        return np.empty(0)
    distance, _ = spatial.cKDTree(there * np.asarray(pixel)).query(here * np.asarray(pixel))
    return np.asarray(distance, np.float64)


def relative_accuracy(errors_z: Floats, errors_h: Floats) -> dict[str, float | None]:
    """Return core3d's percentiles and moments of vertical and horizontal errors [N], metres.

    ``zrmse`` and ``hrmse`` are the 68th and 63rd percentiles there; ``*_explicit`` are the real root mean squares.
    """
    found: dict[str, float | None] = {}
    for letter, errors, fraction in (("z", errors_z, 68), ("h", errors_h, 63)):
        size = np.abs(errors)
        for key, percent in (("50", 50), ("rmse", fraction), ("90", 90)):
            found[f"{letter}{key}"] = float(np.percentile(size, percent)) if size.size else None
        found[f"{letter}rmse_explicit"] = float(np.sqrt(np.mean(errors**2))) if size.size else None
    for key, value in moments(errors_z).items():
        found[f"signed_z_errors_{key}"] = value
    return found


def moments(errors: Floats) -> dict[str, float | None]:
    """Return mean, median, population variance, biased skewness and excess kurtosis of [N] values."""
    if errors.size == 0:
        return dict.fromkeys(("mean", "median", "var", "skew", "kurtosis"))
    centred = errors - errors.mean()
    var = float(np.mean(centred**2))
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "var": var,
        "skew": float(np.mean(centred**3) / var**1.5) if var > 0 else None,
        "kurtosis": float(np.mean(centred**4) / var**2 - 3) if var > 0 else None,
    }
