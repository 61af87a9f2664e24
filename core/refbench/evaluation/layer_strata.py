"""Strata from layers: the half of the ground where a layer of the scene is low, and the half where it is high."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.raster import MASK_UNKNOWN, Mask
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.raster import Image
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource


def scene_masks(scene: Scene) -> dict[str, RasterSource[Mask]]:
    """Return the masks of a scene by name, and those of its layers; a mask of the scene wins over one of its name."""
    layers = layer_masks({name: source.read() for name, source in scene.layers.items()})
    return {**{name: ArraySource(mask) for name, mask in layers.items()}, **scene.masks}


def layer_masks(layers: Mapping[str, Image]) -> dict[str, Mask]:
    """Return ``<layer>_low`` and ``<layer>_high``, split at the median of the known pixels of each layer.

    The median itself counts to the lower half. A layer that is the same everywhere, or known nowhere, splits nothing
    and gives none.
    """
    found: dict[str, Mask] = {}
    for name, layer in layers.items():
        values = layer.pixels[0].astype(np.float64)
        known = np.isfinite(values) if layer.valid is None else layer.valid & np.isfinite(values)
        if not known.any():
            continue
        high = known & (values > np.median(values[known]))
        if not high.any():
            continue
        for half, inside in (("low", known & ~high), ("high", high)):
            classes = np.where(known, inside.astype(np.uint8), np.uint8(MASK_UNKNOWN))
            found[f"{name}_{half}"] = Mask(classes, layer.grid, f"{name}_{half}")
    return found
