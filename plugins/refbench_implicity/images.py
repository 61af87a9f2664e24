"""Ortho images of a scene as the network wants them: cut at their own pixels, scaled, of a size that it accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window
from refbench.geometry.image_scale import one_band

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from numpy.typing import NDArray
    from torch import Tensor

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource
    from refbench.geometry.image_scale import ImageScale

SAME_PIXEL = 1e-6
"""Relative difference up to which two pixel sizes are the same."""


def patch_window(grid: Grid, anchor: NDArray[np.float64], size: NDArray[np.float64]) -> Window:
    """Return the pixels of ``grid`` under a patch of ``size`` (x, y) metres with the south-west corner ``anchor``.

    As published: the south-west pixel is the one that holds the anchor plus half a pixel.
    ``anchor`` and ``size`` are [2], metres in the grid's CRS.
    """
    pixel = np.array(grid.resolution)
    cols, rows = np.maximum(np.rint(size / pixel).astype(int), 1).tolist()
    x, y = anchor + pixel / 2
    col, bottom = grid.pixel_of(np.array(x), np.array(y))
    return Window(int(np.floor(col)), int(np.floor(bottom)) - rows + 1, cols, rows)


@dataclass(frozen=True)
class OrthoPatches:
    """The images of one scene, their scales, and the pixels that the network accepts.

    ``pixel_size`` is the pixel in metres that the network was trained on, ``multiple`` what rows and columns of its
    input must be multiples of.
    """

    sources: Sequence[RasterSource[Image]]
    scales: Sequence[ImageScale]
    bands: Literal["first", "mean"]
    pixel_size: float
    multiple: int

    def patch(self, anchor: NDArray[np.float64], size: NDArray[np.float64]) -> Tensor:
        """Return float32 [1, images, rows, cols], north-up, of the patch at ``anchor`` [2] of ``size`` [2] metres."""
        layers = []
        for source, scale in zip(self.sources, self.scales, strict=True):
            if source.grid is None or not source.grid.is_north_up:
                raise InputError("ImpliCity needs north-up ortho images; warp them first.")
            image = source.read(patch_window(source.grid, anchor, size))
            layers.append(self._fitted(torch.from_numpy(scale.apply(one_band(image, self.bands))), size))
        return torch.stack(layers)[None]

    def _fitted(self, layer: Tensor, size: NDArray[np.float64]) -> Tensor:
        """Resample [rows, cols] to the trained pixel size, rounded to what the network accepts."""
        cols, rows = (max(round(float(v) / self.pixel_size / self.multiple), 1) * self.multiple for v in size)
        if layer.shape == (rows, cols):
            return layer
        shrinks = rows < layer.shape[0] or cols < layer.shape[1]
        resized = F.interpolate(layer[None, None], (rows, cols), mode="bilinear", antialias=shrinks)
        return resized[0, 0]

    def resampling(self) -> str | None:
        """Return a sentence where an image is not in the trained pixels, else None."""
        for source in self.sources:
            gsd = source.grid.gsd if source.grid is not None else self.pixel_size
            if abs(gsd / self.pixel_size - 1) > SAME_PIXEL:
                return (
                    f"Images of {gsd:g} m are resampled to the {self.pixel_size:g} m that the weights were trained on."
                )
        return None
