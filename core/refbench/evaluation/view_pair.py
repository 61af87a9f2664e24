"""A rendered view and the image of the same camera, and what metrics take from them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from refbench.contracts.errors import InputError
from refbench.evaluation.image_scores import WINDOW_PX, ssim_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.raster import Image

    Floats = NDArray[np.float64]

COLOURS = 3


class ViewPair:
    """Two images of one size, scaled to [0, 1] by their type, on the pixels that the rendered one covers.

    Raises
    ------
    InputError
        Another size.
    """

    def __init__(self, rendered: Image, image: Image) -> None:
        if rendered.shape != image.shape:
            raise InputError(f"A view rendered in {rendered.shape} pixels cannot be scored against {image.shape}.")
        self.seen = _seen(rendered) & _seen(image)
        """bool [rows, cols]."""
        self._pair = _unit(rendered), _unit(image)

    @cached_property
    def error(self) -> Floats:
        """Rendered minus image of three bands, [3, n covered pixels]."""
        return np.asarray((self._pair[0] - self._pair[1])[:, self.seen], np.float64)

    @cached_property
    def mean_square(self) -> float | None:
        """Mean square error; None without a pixel."""
        return float(np.mean(self.error**2)) if self.error.size else None

    @cached_property
    def similarity(self) -> float | None:
        """SSIM, mean over bands and windows that are covered throughout; None without any."""
        whole = ndimage.minimum_filter(self.seen.astype(np.uint8), WINDOW_PX, mode="constant", cval=0).astype(bool)
        if not whole.any():
            return None
        return float(np.mean([ssim_map(a, b, 1.0)[whole].mean() for a, b in zip(*self._pair, strict=True)]))


def _seen(image: Image) -> NDArray[np.bool_]:
    return np.ones(image.shape, np.bool_) if image.valid is None else image.valid


def _unit(image: Image) -> Floats:
    """Return three bands in [0, 1], those of a grey image alike."""
    pixels: NDArray[Any] = image.pixels[:COLOURS] if image.pixels.shape[0] >= COLOURS else image.pixels[:1]
    levels = pixels.astype(np.float64) / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0)
    return np.asarray(np.broadcast_to(levels, (COLOURS, *levels.shape[1:])))
