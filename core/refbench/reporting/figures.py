"""Images of surfaces: hillshades and error maps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from refbench.evaluation.slope import ground_gradient

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

SUN_AZIMUTH_DEG, SUN_ALTITUDE_DEG = 315.0, 45.0
NODATA_COLOUR = (0.86, 0.80, 0.86)
"""A pale violet that no hillshade has: what is missing is seen as missing."""


@dataclass(frozen=True, slots=True)
class ErrorScale:
    """The colour range of an error map: -limit to +limit metres."""

    limit_m: float


def hillshade(heights: NDArray[np.float32], transform: Affine) -> NDArray[np.float64]:
    """Return the shading in [0, 1], float64 [rows, cols], of heights in metres; NaN stays NaN.

    ``transform`` takes (col, row) to metres east and north, whatever way the raster lies.
    """
    # A raster of one row or column has no slope across it.
    per_row, per_col = (
        np.gradient(heights.astype(np.float64), axis=axis) if heights.shape[axis] > 1 else np.zeros(heights.shape)
        for axis in (0, 1)
    )
    slope_east, slope_north = ground_gradient(per_col, per_row, transform)
    azimuth, altitude = np.radians(SUN_AZIMUTH_DEG), np.radians(SUN_ALTITUDE_DEG)
    # The normal is (-dz/dx, -dz/dy, 1).
    east, north, up = np.sin(azimuth) * np.cos(altitude), np.cos(azimuth) * np.cos(altitude), np.sin(altitude)
    shade = (up - slope_east * east - slope_north * north) / np.sqrt(slope_east**2 + slope_north**2 + 1)
    return np.asarray(np.clip(shade, 0.0, 1.0), np.float64)


def surface_image(heights: NDArray[np.float32], transform: Affine, low: float, high: float) -> NDArray[np.float64]:
    """Return a hillshade tinted by height between ``low`` and ``high`` metres: RGB in [0, 1], [rows, cols, 3]."""
    shade = hillshade(heights, transform)
    span = max(high - low, 1e-6)
    tint = mpl.colormaps["YlGnBu_r"](np.clip((np.nan_to_num(heights, nan=low) - low) / span, 0, 1))[..., :3]
    image = (0.35 + 0.65 * tint) * (0.15 + 0.95 * np.nan_to_num(shade, nan=0.7))[..., None]
    image[~np.isfinite(heights)] = NODATA_COLOUR
    return np.asarray(np.clip(image, 0, 1), np.float64)


def error_image(error: NDArray[np.float64], scale: ErrorScale) -> NDArray[np.float64]:
    """Return an error map (blue too low, white right, red too high, violet missing): RGB in [0, 1].

    ``error`` is [rows, cols], metres; the colours are [rows, cols, 3].
    """
    fraction = np.clip(np.nan_to_num(error) / scale.limit_m * 0.5 + 0.5, 0, 1)
    image = mpl.colormaps["RdBu_r"](fraction)[..., :3]
    image[~np.isfinite(error)] = NODATA_COLOUR
    return np.asarray(image, np.float64)


def error_legend_png(scale: ErrorScale) -> bytes:
    """Return the legend of an error map, in metres."""
    figure = Figure(figsize=(3.4, 0.62), dpi=110)
    axes = figure.add_axes((0.05, 0.62, 0.9, 0.26))
    norm = mpl.colors.Normalize(-scale.limit_m, scale.limit_m)
    bar = figure.colorbar(mpl.cm.ScalarMappable(norm, mpl.colormaps["RdBu_r"]), cax=axes, orientation="horizontal")
    bar.set_label("evaluated − reference [m]", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return buffer.getvalue()


def error_scale(*errors: NDArray[np.float64]) -> ErrorScale:
    """Return the scale that shows 95 % of all errors, rounded to half metres, at least half a metre."""
    known = np.concatenate([np.abs(error[np.isfinite(error)]) for error in errors] or [np.zeros(1)])
    limit = float(np.percentile(known, 95)) if known.size else 1.0
    return ErrorScale(max(0.5, np.ceil(limit * 2) / 2))
