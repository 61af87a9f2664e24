"""How much of a correction is applied, and how sure the result is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F4 = NDArray[np.float32]

SIGMA_OF_SCALE = 1.1394
"""68 % of a Laplace distribution lie within this multiple of its scale: -ln(1 - 0.68)."""
LOG_SCALES = (-4.6, 3.0)
"""Bounds of the logarithm of the scale in normalised heights."""


def standard_deviation(log_scale: NDArray[np.floating], factor: float) -> F4:
    """Return the deviation of normalised heights from the network's second output: 68 % lie within it.

    ``factor`` is the calibration that the weights carry, 1 for none.
    Float32 in the shape of ``log_scale``, [rows, cols].
    """
    return np.asarray(factor * SIGMA_OF_SCALE * np.exp(np.clip(log_scale, *LOG_SCALES)), np.float32)


def combined(means: NDArray[np.floating], deviations: NDArray[np.floating]) -> tuple[F4, F4]:
    """Return mean and deviation [rows, cols] of several passes [n, rows, cols]: their spread adds to their own.

    Normalised heights.
    """
    mean = means.mean(axis=0, dtype=np.float64)
    variance = (deviations.astype(np.float64) ** 2).mean(axis=0) + means.var(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def shrunk(initial: F4, refined: F4, deviation: F4, strength: float) -> tuple[F4, F4]:
    """Return the heights that are kept, and their deviation; all [rows, cols] in one unit.

    A correction c of deviation s is multiplied by c^4 / (c^4 + (k s)^4), k the ``strength``: one that is small against
    what the network does not know is left out. What is left out adds to the deviation.
    """
    correction = refined - initial
    if not strength:
        return refined, deviation
    # Fourth powers: on held-out cities they keep more of the gain than squares where as few good heights are lost.
    power = correction**4
    kept = power / np.maximum(power + (strength * deviation) ** 4, 1e-20)
    left_out = (1 - kept) * correction
    return initial + kept * correction, np.hypot(deviation, left_out).astype(np.float32)
