"""Errors of a depth map and of point clouds under the official names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.float32]

FARTHEST = (4.0, 7.0, 10.0, 15.0)
"""Reference depths (m) up to which errors are averaged."""
TOLERANCES = (0.01, 0.05, 0.1)
"""Depth errors (m) up to which a pixel is accurate."""
KNOWN = 1e-12
RATIO = 1.25
COMPLETE = 0.05
"""Distance (m) up to which a reference point counts as reconstructed."""
VOXEL = 0.0025
"""Side (m) of the voxels that clouds are thinned to."""


def depth_metrics(found: Map, reference: Map, mask: Map) -> dict[str, float]:
    """Return the official dictionary of metrics, in its order.

    Parameters
    ----------
    found
        Depth map in metres [rows, cols], 0 where nothing is known; read at the nearest pixels if of another size.
    reference, mask
        Reference depths in metres and whether they count [rows, cols].
    """
    found = _resized(found, reference.shape)
    counts = (mask > 0) & (reference >= KNOWN)
    known = found >= KNOWN
    metrics = {
        "#opt/#ref": float(known.sum() / max(counts.sum(), 1)),
        "#opt/#total": float(known.mean()),
        "#ref/#total": float(counts.mean()),
    }
    for farthest in FARTHEST:
        errors = _errors(found, reference, counts & known, farthest)
        for name, value in errors.items():
            # The official name of the last one lacks the blank.
            blank = "" if name == "delta_1" else " "
            metrics[f"depth_{name}{blank}(consider up to {farthest}m)"] = value
    distance = np.abs(found - reference)[mask > 0]
    for tolerance in TOLERANCES:
        metrics[f"depth_accuracy (tau={tolerance})"] = _mean(distance < tolerance)
        metrics[f"depth_error_ratio (tau={tolerance})"] = _mean(distance) / tolerance
    return metrics


def _errors(found: Map, reference: Map, both: NDArray[np.bool_], farthest: float) -> dict[str, float]:
    """Return the five errors where both maps are known, or everywhere if they are nowhere."""
    anywhere = bool(both.any())
    used = (both if anywhere else np.ones_like(both)) & (reference <= farthest)
    depth, wanted = np.minimum(found[used], np.float32(farthest)), reference[used]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = _mean(np.abs(1 / depth - 1 / wanted)) if anywhere else float("nan")
        ratio = np.maximum(depth / wanted, wanted / depth)
        return {
            "rmse": _mean((depth - wanted) ** 2) ** 0.5,
            "mae": _mean(np.abs(depth - wanted)),
            "L1_rel": _mean(np.abs(depth - wanted) / wanted),
            "L1_inv": inverse,
            "delta_1": _mean(ratio < RATIO),
        }


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def _resized(image: Map, shape: tuple[int, ...]) -> Map:
    """Return the values nearest to the pixel centres of the other size."""
    rows, cols = (
        np.minimum(((np.arange(new) + 0.5) * (old / new)).astype(np.int64), old - 1)
        for old, new in zip(image.shape, shape, strict=True)
    )
    return np.asarray(image[np.ix_(rows, cols)])


def completion(reference: NDArray[np.float64], found: NDArray[np.float64], near: float = COMPLETE) -> float:
    """Return the fraction of reference points [N, 3] that have a found point [M, 3] within ``near`` metres."""
    return float((_distances(reference, found) < near).mean())


def cloud_accuracy(found: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and median distance in metres of found points [M, 3] to the reference [N, 3]."""
    distances = _distances(found, reference)
    return float(distances.mean()), float(np.median(distances))


def cloud_metrics(found: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
    """Return completion and accuracy of found points [M, 3] in metres against the reference [N, 3].

    Both are thinned to one point a voxel; for the accuracy the found ones are cropped to the reference's box.
    """
    found, reference = thinned(found), thinned(reference)
    inside = found[((found >= reference.min(0)) & (found <= reference.max(0))).all(axis=1)]
    mean, median = cloud_accuracy(inside, reference) if len(inside) else (float("nan"), float("nan"))
    ratio = completion(reference, found) if len(found) else 0.0
    return {"completion_ratio": ratio, "accuracy_mean": mean, "accuracy_median": median}


def thinned(points: NDArray[np.float64], voxel: float = VOXEL) -> NDArray[np.float64]:
    """Return the means [M, 3] of the points [N, 3] of every voxel of a side in metres."""
    cells, number = np.unique(np.floor(points / voxel).astype(np.int64), axis=0, return_inverse=True)
    number = number.reshape(-1)
    counts = np.bincount(number, minlength=len(cells))
    sums = [np.bincount(number, axis, minlength=len(cells)) for axis in points.T]
    return np.stack(sums, axis=1) / counts[:, None]


def _distances(points: NDArray[np.float64], to: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cKDTree(to).query(points)[0])


class BestSoFar:
    """The smallest value of every metric over a run, under the official prefix."""

    def __init__(self) -> None:
        self._smallest: dict[str, float] = {}

    def update(self, metrics: dict[str, float]) -> dict[str, float]:
        """Take new values in; return the smallest ones as ``MIN_name``."""
        for name, value in metrics.items():
            self._smallest[name] = float(np.fmin(value, self._smallest.get(name, np.inf)))
        return {f"MIN_{name}": value for name, value in self._smallest.items()}
