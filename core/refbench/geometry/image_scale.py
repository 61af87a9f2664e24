"""Scaling of image values by their own statistics, so that a network works on any sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource

Bands = Literal["first", "mean"]
SAMPLE_SIDE = 1024
SAMPLE_WINDOWS = 9


@dataclass(frozen=True, slots=True)
class ImageScale:
    """Maps image values v to (v - centre) / spread."""

    centre: float
    spread: float

    def apply(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return scaled float32 values of the same shape; unknown ones (NaN) become 0, the centre."""
        scaled = ((np.asarray(values, np.float64) - self.centre) / self.spread).astype(np.float32)
        return np.nan_to_num(scaled, copy=False, nan=0.0)


def robust_scale(values: NDArray[Any]) -> ImageScale:
    """Return the scale by median and interquartile range of some values of any shape; NaN does not count.

    An image whose middle half has one value gets spread 1, one without values the scale (0, 1).
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return ImageScale(0.0, 1.0)
    low, centre, high = (float(v) for v in np.percentile(known, (25, 50, 75)))
    return ImageScale(centre, (high - low) or 1.0)


def one_band(image: Image, rule: Bands) -> NDArray[np.float64]:
    """Return the image as one band, float64 [rows, cols], NaN where it holds no data."""
    pixels = np.asarray(image.pixels, np.float64)
    band = pixels[0] if rule == "first" else pixels.mean(axis=0)
    return band if image.valid is None else np.where(image.valid, band, np.nan)


def robust_image_scale(source: RasterSource[Image], bands: Bands = "mean") -> ImageScale:
    """Return the robust scale of a whole image; a large one is read by evenly spread windows.

    Raises
    ------
    InputError
        The image has no grid.
    """
    parts = [one_band(source.read(window), bands).ravel() for window in _sample_windows(source)]
    return robust_scale(np.concatenate(parts))


def _sample_windows(source: RasterSource[Image]) -> Iterator[Window]:
    """Yield the whole image, or evenly spread windows of a large one."""
    grid = source.grid
    if grid is None:
        raise InputError("An ortho image needs a grid; one in camera pixels is a view.")
    if grid.width * grid.height <= SAMPLE_WINDOWS * SAMPLE_SIDE**2:
        yield grid.full_window
        return
    side = round(SAMPLE_WINDOWS**0.5)
    width, height = min(SAMPLE_SIDE, grid.width), min(SAMPLE_SIDE, grid.height)
    for row in np.linspace(0, grid.height - height, side).astype(int).tolist():
        for col in np.linspace(0, grid.width - width, side).astype(int).tolist():
            yield Window(col, row, width, height)
