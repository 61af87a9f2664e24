"""How heights and image values become network values and back, and the spread of heights in training patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

TRIMMED = (5, 95)
"""Percentiles outside of which the spread of a patch does not count."""


def patch_mean(dsm: NDArray[np.floating[Any]], nodata: float | None = None) -> NDArray[np.float64]:
    """Return the mean height [...] of patches [..., rows, cols] in metres; NaN and ``nodata`` do not count.

    The sum runs in float32 as published, so that the mean has the published digits. 0 for a patch without heights.
    """
    known = _known(dsm, nodata)
    heights = np.where(known, dsm, 0).astype(np.float32, copy=False)
    total = heights.reshape(*heights.shape[:-2], -1).sum(axis=-1, dtype=np.float32)
    count = known.sum(axis=(-2, -1))
    return np.asarray(total / np.maximum(count, 1).astype(np.float64), np.float64)


def normalise_heights(heights: NDArray[np.floating[Any]], mean: ArrayLike, std: float) -> NDArray[np.float32]:
    """Return (heights - mean) / std, float32, for patches [..., rows, cols] with their own ``mean`` [...] in metres.

    Unknown heights stay what they are, a code included.
    """
    return np.asarray((np.asarray(heights, np.float32) - _per_patch(mean)) / np.float32(std), np.float32)


def normalise_images(images: NDArray[Any], mean: float | None, std: float) -> NDArray[np.float32]:
    """Return (images - mean) / std, float32, for samples [..., views, rows, cols]; NaN becomes 0, the centre.

    A ``mean`` of None or 0 stands for the joint mean of the sample's views.
    """
    pixels = np.asarray(images, np.float32)
    known = ~np.isnan(pixels)
    centre = np.float32(mean) if mean else _joint_mean(pixels, known)
    return np.asarray(np.where(known, pixels - centre, 0) / np.float32(std), np.float32)


def patch_std(dsm: NDArray[np.floating[Any]], nodata: float | None = None) -> NDArray[np.float64]:
    """Return the sample standard deviation [...] of patches [..., rows, cols] about their own mean, in metres.

    NaN and ``nodata`` do not count; NaN for a patch with fewer than two heights.
    """
    known = _known(dsm, nodata)
    heights = np.where(known, dsm, 0).astype(np.float64)
    count = known.sum(axis=(-2, -1))
    mean = heights.sum(axis=(-2, -1)) / np.maximum(count, 1)
    squares = (np.where(known, heights - mean[..., None, None], 0) ** 2).sum(axis=(-2, -1))
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def training_std(stds: ArrayLike) -> float:
    """Return the height scale: the mean of the patches' standard deviations [n] from their 5th to 95th percentile.

    NaN does not count.

    Raises
    ------
    InputError
        No patch has a spread, or the scale is 0.
    """
    values = np.asarray(stds, np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size:
        low, high = np.percentile(values, TRIMMED)
        scale = float(values[(values >= low) & (values <= high)].mean())
        if scale > 0:
            return scale
    raise InputError("The initial DSM is flat or empty in all training patches, so that heights have no scale.")


def _known(dsm: NDArray[np.floating[Any]], nodata: float | None) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = ~np.isnan(dsm)
    return known if nodata is None else known & (dsm != nodata)


def _joint_mean(pixels: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    views = (-3, -2, -1)
    total = np.where(known, pixels, 0).sum(axis=views, keepdims=True)
    return np.asarray(total / np.maximum(known.sum(axis=views, keepdims=True), 1), np.float32)


def _per_patch(mean: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(mean, np.float32)[..., None, None]
