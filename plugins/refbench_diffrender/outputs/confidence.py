"""How far every pixel of a depth map is to be trusted: what other depth maps and other images say of it.

``confidence = fraction * similarity``, both in [0, 1]:

- ``fraction``: of the other depth maps that see a pixel's point, how many agree on it. A map that has another surface
  well before the point does not see it. 1/2 where no other map sees it: nothing speaks for it, nothing against.
- ``similarity``: the correlation of brightness between a patch around the pixel and what the images hold where the
  depths of the patch lead, negative ones 0; the mean over all images that see the point, 0 where none does. Patches
  without texture look alike: a noise of ``NOISE`` is added to all variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.geometry.fuse import agreeing_views
from refbench.geometry.sample import bilinear, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera

    Floats = NDArray[np.float64]

PATCH = 5
"""Pixels per side of a patch."""
NOISE = 2 / 255
HIDING = 5.0
"""Agreement tolerances by which a surface must lie before a point to hide it: nearer ones contradict the point."""
UNSEEN_FRACTION = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class DepthView:
    """``image`` float32 [rows, cols, 3] in [0, 1]; ``camera`` of that size; ``depth`` float32 [rows, cols].

    Depths are metres, NaN is unknown; ``depth`` is None for an image that is only looked at.
    """

    name: str
    image: NDArray[np.float32]
    camera: Camera
    depth: NDArray[np.float32] | None = None


def agreement(views: Sequence[DepthView], absolute: float) -> list[NDArray[np.int64]]:
    """Return how many depth maps agree on every pixel's point, itself included, int64 [rows, cols] per view."""
    maps = [_depth(view) for view in views]
    return agreeing_views(maps, [view.camera for view in views], relative=0.0, absolute=absolute)


def confidences(
    views: Sequence[DepthView],
    images: Sequence[DepthView],
    agreed: Sequence[NDArray[np.int64]],
    absolute: float,
) -> list[NDArray[np.float32]]:
    """Return the confidence of every pixel, float32 [rows, cols] in [0, 1] per view; 0 where depth is unknown.

    Parameters
    ----------
    views
        With depth maps.
    images
        Further images, without depth maps.
    agreed
        What ``agreement`` found.
    absolute
        The tolerance of ``agreement``, metres.
    """
    found = []
    for view, count in zip(views, agreed, strict=True):
        others = [other for other in (*views, *images) if other.name != view.name]
        found.append(_confidence(view, others, count - 1, absolute))
    return found


def _confidence(
    view: DepthView, others: Sequence[DepthView], agreed: NDArray[np.int64], absolute: float
) -> NDArray[np.float32]:
    depth = _depth(view)
    row, col = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float64)
    points = view.camera.unproject(col, row, depth.astype(np.float64))
    own = _brightness(view.image)
    maps, similarity, images = (np.zeros(depth.shape) for _ in range(3))
    for other in others:
        across, down, expected = other.camera.project(points)
        looked = bilinear(_brightness(other.image), across, down)
        sees = np.isfinite(looked)
        if other.depth is not None:
            there = nearest(other.depth, across, down).astype(np.float64)
            with np.errstate(invalid="ignore"):
                sees &= expected <= there + HIDING * absolute  # false for NaN: the map knows nothing there
            maps += sees
        similarity += np.where(sees, correlation(own, looked, sees), 0)
        images += sees
    maps = np.maximum(maps, agreed)  # a map may agree between two pixels of which the nearest lies before the point
    fraction = np.where(maps > 0, agreed / np.maximum(maps, 1), UNSEEN_FRACTION)
    found = np.clip(fraction, 0, 1) * np.clip(similarity / np.maximum(images, 1), 0, 1)
    return np.where(np.isfinite(depth), found, 0).astype(np.float32)


def correlation(one: Floats, other: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the correlation of patches of two images [rows, cols] around every pixel, from ``known`` pixels only.

    At least 0, at most 1; patches whose variance is below that of ``NOISE`` count as alike.
    """
    weight = known.astype(np.float64)
    number = np.maximum(_patch_sum(weight), 1e-9)
    a, b = (np.where(known, values, 0) for values in (one, other))
    mean_a, mean_b = _patch_sum(a) / number, _patch_sum(b) / number
    noise = NOISE**2
    var_a = np.maximum(_patch_sum(a * a) / number - mean_a**2, 0) + noise
    var_b = np.maximum(_patch_sum(b * b) / number - mean_b**2, 0) + noise
    covariance = _patch_sum(a * b) / number - mean_a * mean_b + noise
    return np.asarray(np.clip(covariance / np.sqrt(var_a * var_b), 0, 1))


def _patch_sum(values: Floats) -> Floats:
    summed = cv2.boxFilter(values, cv2.CV_64F, (PATCH, PATCH), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(summed, np.float64)


def _brightness(image: NDArray[np.float32]) -> Floats:
    return np.asarray(image.mean(axis=2, dtype=np.float64))


def _depth(view: DepthView) -> NDArray[np.float32]:
    assert view.depth is not None  # the caller gave maps
    return view.depth
