"""Image-like scores of a DSM. They depend on the local relief: secondary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SIGMA_PX = 1.5
WINDOW_PX = 11
K1, K2 = 0.01, 0.03
_TRUNCATE = (WINDOW_PX // 2) / SIGMA_PX


def image_scores(evaluated: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, float | int | None]:
    """Return PSNR in dB and SSIM of heights [rows, cols], NaN where unknown.

    The data range is that of the reference where both are valid; invalid pixels take its mean there. ``ssim`` averages
    the windows of 11 x 11 px that are valid throughout; ``ssim_cropped`` all windows inside the raster.
    """
    both = np.isfinite(evaluated) & np.isfinite(reference)
    if not both.any():
        empty: dict[str, float | int | None] = dict.fromkeys(("psnr_db", "ssim", "ssim_cropped", "data_range", "fill"))
        return {**empty, "n_valid_windows": 0}
    expected = reference[both].astype(np.float64)
    span, fill = float(expected.max() - expected.min()), float(expected.mean())
    error = evaluated[both].astype(np.float64) - expected
    mse = float(np.mean(error**2))
    similarity = ssim_map(
        np.where(both, evaluated, fill).astype(np.float64), np.where(both, reference, fill).astype(np.float64), span
    )
    rim = WINDOW_PX // 2
    whole = ndimage.minimum_filter(both.astype(np.uint8), WINDOW_PX, mode="constant", cval=0).astype(bool)
    inner = similarity[rim:-rim, rim:-rim]
    return {
        "psnr_db": 10 * float(np.log10(span**2 / mse)) if mse > 0 and span > 0 else None,
        "ssim": float(similarity[whole].mean()) if whole.any() else None,
        "ssim_cropped": float(inner.mean()) if inner.size else None,
        "data_range": span,
        "fill": fill,
        "n_valid_windows": int(whole.sum()),
    }


def ssim_map(first: Floats, second: Floats, data_range: float) -> Floats:
    """Return SSIM per pixel [rows, cols]: Gaussian window of sigma 1.5, population covariance."""

    def smooth(values: Floats) -> Floats:
        return np.asarray(ndimage.gaussian_filter(values, SIGMA_PX, truncate=_TRUNCATE), np.float64)

    mean_a, mean_b = smooth(first), smooth(second)
    var_a, var_b = smooth(first * first) - mean_a**2, smooth(second * second) - mean_b**2
    covariance = smooth(first * second) - mean_a * mean_b
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return np.asarray(above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)), np.float64)
