"""How heights and NDVI become network values and back: the published 8-bit path, and metres without loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench_pix2pix.config import ValueConfig

LEVELS = 255.0
DSM_MIDDLE, NDVI_MIDDLE = 0.5, 0.7
"""Mean and deviation at once: (v / 255 - m) / m."""
PERCENTILES = (0.5, 99.5)
HEADROOM = 1.25
"""A tile's own span is widened by this, so that a refinement can go past it."""


def normalise_levels(levels: NDArray[Any], middle: float) -> NDArray[np.float32]:
    """Return (levels / 255 - middle) / middle, float32, of 8-bit or fractional levels of any shape."""
    fraction = np.asarray(levels, np.float32) / np.float32(LEVELS)
    return np.asarray((fraction - np.float32(middle)) / np.float32(middle), np.float32)


def levels_of(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the levels [0, 255] of network outputs in [-1, 1], not truncated."""
    return np.asarray((np.asarray(values, np.float32) + np.float32(1)) / np.float32(2) * np.float32(LEVELS), np.float32)


def ndvi_levels(ndvi: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return 127.5 (NDVI + 1), unknown pixels 0.

    Float32 [rows, cols].

    Raises
    ------
    InputError
        An NDVI outside [-1, 1].
    """
    known = ndvi[np.isfinite(ndvi)]
    if known.size and (float(known.min()) < -1 or float(known.max()) > 1):
        raise InputError(
            f"NDVI must lie in [-1, 1], got {known.min():g} to {known.max():g}; scale it, or leave it out (--set "
            "generator.input_nc=1 with weights for the DSM alone)."
        )
    return np.asarray(np.nan_to_num(127.5 * (np.asarray(ndvi, np.float32) + 1), nan=0.0), np.float32)


@dataclass(frozen=True, slots=True)
class HeightScale:
    """Levels of one tile: ``step`` metres each, above ``offset`` metres."""

    offset: float
    step: float

    def levels(self, heights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return fractional levels of heights in metres. [rows, cols], which stays."""
        return np.asarray((np.asarray(heights, np.float64) - self.offset) / self.step, np.float64)

    def metres(self, levels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return heights in metres of levels. [rows, cols], which stays."""
        return np.asarray(self.offset + self.step * np.asarray(levels, np.float64), np.float64)


def tile_scale(heights: NDArray[np.floating[Any]], config: ValueConfig) -> HeightScale:
    """Return the scale of a tile: the configured one, or that of its own heights around their middle.

    Heights are [rows, cols], metres.
    """
    if config.span == "fixed":
        return HeightScale(config.offset, config.step)
    known = heights[np.isfinite(heights)]
    low, high = (float(v) for v in np.percentile(known, PERCENTILES)) if known.size else (0.0, 0.0)
    span = max(config.least_span, HEADROOM * (high - low))
    return HeightScale((low + high - span) / 2, span / LEVELS)


def to_network(heights: NDArray[np.floating[Any]], scale: HeightScale, config: ValueConfig) -> NDArray[np.float32]:
    """Return network values of heights in metres, NaN where unknown: those become level 0 in the 8-bit path.

    Float32 [rows, cols], which stays.

    Raises
    ------
    InputError
        In the 8-bit path: a height that no level stands for.
    """
    levels = scale.levels(heights)
    if config.path == "8bit":
        known = levels[np.isfinite(levels)]
        if known.size and (float(known.min()) < 0 or float(known.max()) >= LEVELS + 1):
            low, high = scale.metres(np.array([known.min(), known.max()]))
            raise InputError(
                f"The 8bit path holds heights from {scale.offset:g} to {scale.offset + LEVELS * scale.step:g} m, the "
                f"DSM has {low:.1f} to {high:.1f} m; use --set values.path=float, or another values.offset."
            )
        levels = np.floor(np.nan_to_num(levels, nan=0.0))
    return normalise_levels(levels, DSM_MIDDLE)


def to_metres(values: NDArray[np.floating[Any]], scale: HeightScale, config: ValueConfig) -> NDArray[np.float64]:
    """Return heights in metres of network outputs in [-1, 1]; the 8-bit path truncates to whole levels.

    [rows, cols], which stays.
    """
    levels = levels_of(values)
    return scale.metres(np.floor(levels) if config.path == "8bit" else levels)
