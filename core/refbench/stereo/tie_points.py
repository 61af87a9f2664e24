"""Tie points between two images: SIFT features that match both ways and lie near each other's epipolar lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.scene import View

    Floats = NDArray[np.float64]

SIDE = 1500
"""Side of the window around the common ground whose features are taken, pixels."""
MOST_FEATURES = 4000
RATIO = 0.8
"""Lowe's ratio of the best to the second best distance; IJCV 60 (2004), section 7.1."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """``pixel`` float64 [N, 2] (col, row) in the image; ``descriptor`` float32 [N, 128]."""

    pixel: Floats
    descriptor: NDArray[np.float32]


def find_features(view: View, ground: Floats) -> Features:
    """Return the features of a view around where it sees the point ``ground`` [3]."""
    col, row, _ = view.camera.project(ground[None])
    rows, cols = view.image.shape
    west, north = (round(float(np.nan_to_num(v[0]))) - SIDE // 2 for v in (col, row))
    window = Window(west, north, SIDE, SIDE).intersection(Window(0, 0, cols, rows)) or Window(0, 0, cols, rows)
    grey = as_bytes(view.image.read(window).pixels.astype(np.float32).mean(axis=0))
    points, descriptor = cv2.SIFT.create(MOST_FEATURES).detectAndCompute(grey, None)
    pixel = np.array([point.pt for point in points], np.float64).reshape(-1, 2)
    if descriptor is None:
        descriptor = np.zeros((0, 128), np.float32)
    corner = np.array([window.col_off, window.row_off], np.float64)
    return Features(pixel + corner, np.asarray(descriptor, np.float32))


def as_bytes(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch an image [rows, cols] to 8 bits between its 0.5 and 99.5 percent quantiles; NaN becomes 0.

    Uint8 [rows, cols].
    """
    known = np.nan_to_num(grey)
    low, high = np.quantile(known, (0.005, 0.995))
    return np.asarray(np.clip((known - low) * (255 / max(float(high - low), 1e-9)), 0, 255), np.uint8)


def matched(first: Features, second: Features) -> NDArray[np.intp]:
    """Return index pairs [N, 2] of features that are each other's nearest, by far enough."""
    if min(len(first.pixel), len(second.pixel)) < 2:
        return np.zeros((0, 2), np.intp)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forth = matcher.knnMatch(first.descriptor, second.descriptor, k=2)
    back = {match.queryIdx: match.trainIdx for match in matcher.match(second.descriptor, first.descriptor)}
    pairs = [
        (best.queryIdx, best.trainIdx)
        for best, other in forth
        if best.distance < RATIO * other.distance and back.get(best.trainIdx) == best.queryIdx
    ]
    return np.array(pairs, np.intp).reshape(-1, 2)
