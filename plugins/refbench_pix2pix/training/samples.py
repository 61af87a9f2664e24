"""Paired tiles of scenes for training: the initial DSM and the NDVI against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import Window
from refbench.contracts.method import derived_rng
from refbench.geometry.image_scale import one_band
from refbench_pix2pix.inputs import network_tile
from refbench_pix2pix.values import DSM_MIDDLE, LEVELS, normalise_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import DSM, Image, Mask
    from refbench.contracts.source import RasterSource
    from refbench_pix2pix.config import TrainingConfig, ValueConfig

    Sample = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Place:
    """What one scene offers on its grid."""

    name: str
    dsm: RasterSource[DSM]
    reference: RasterSource[DSM]
    ndvi: RasterSource[Image] | None = None
    reference_valid: RasterSource[Mask] | None = None


@dataclass(frozen=True)
class TileCutter:
    """Makes network samples: ``x`` [1 or 2, T, T], ``y`` and ``mask`` [1, T, T], and two lengths of a unit []."""

    values: ValueConfig
    tile: int

    def sample(self, place: Place, row: int, col: int) -> Sample:
        """Return the sample at ``row`` and ``col``; what lies past the raster is reflected and does not count.

        ``metres_per_unit`` and ``pixels_per_unit`` are how high one unit of the network's output is.
        """
        window = Window(col, row, self.tile, self.tile)
        grid = place.dsm.grid
        assert grid is not None  # a DSM always has one
        heights = np.asarray(place.dsm.read(window).heights, np.float64)
        ndvi = None if place.ndvi is None else one_band(place.ndvi.read(window), "first").astype(np.float32)
        found = network_tile(heights, ndvi, window, grid, self.values)
        if found is None:
            return self._empty(1 if ndvi is None else 2)
        x, scale = found
        reference = np.asarray(place.reference.read(window).heights, np.float64)
        mask = np.isfinite(reference) & np.isfinite(heights)
        if place.reference_valid is not None:
            mask &= place.reference_valid.read(window).is_class
        y = normalise_levels(scale.levels(np.where(mask, reference, 0)), DSM_MIDDLE)
        # One unit of the output is half the levels: [-1, 1] spans all of them.
        unit = scale.step * LEVELS * DSM_MIDDLE
        return {
            "x": x,
            "y": np.where(mask, y, x[0])[None].astype(np.float32),
            "mask": mask[None],
            "metres_per_unit": np.asarray(unit, np.float32),
            "pixels_per_unit": np.asarray(unit / grid.gsd, np.float32),
        }

    def _empty(self, channels: int) -> Sample:
        blank = np.zeros((1, self.tile, self.tile), np.float32)
        return {
            "x": np.repeat(blank, channels, axis=0),
            "y": blank,
            "mask": np.zeros(blank.shape, np.bool_),
            "metres_per_unit": np.asarray(1, np.float32),
            "pixels_per_unit": np.asarray(1, np.float32),
        }


class TileBatches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Batch n of a training: tiles at places drawn from the seed and n, flipped and, if asked, turned."""

    def __init__(self, places: Sequence[Place], cutter: TileCutter, config: TrainingConfig, seed: int) -> None:
        self.places, self.cutter, self.config, self.seed = places, cutter, config, seed

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Return batch ``number``."""
        size = self.config.batch_size
        return collate([self._sample(number * size + i) for i in range(size)])

    def _sample(self, number: int) -> Sample:
        rng = derived_rng(self.seed, "tile", number)
        place = self.places[int(rng.integers(len(self.places)))]
        grid = place.dsm.grid
        assert grid is not None  # a DSM always has one
        row, col = (int(rng.integers(max(1, length - self.cutter.tile + 1))) for length in grid.shape)
        sample = self.cutter.sample(place, row, col)
        flip, turns = bool(rng.integers(2)), int(rng.integers(4))
        for key in ("x", "y", "mask"):
            if flip and not self.config.no_flip:
                sample[key] = sample[key][..., ::-1]
            if self.config.quarter_turns:
                sample[key] = np.rot90(sample[key], turns, axes=(-2, -1))
        return sample


def grid_batches(places: Sequence[Place], cutter: TileCutter) -> list[dict[str, torch.Tensor]]:
    """Return all tiles of the regular grid of ``places``, one a batch: what validation looks at.

    A tensor is [1, C, H, W] of normalised values in [-1, 1].
    """
    batches = []
    for place in places:
        assert place.dsm.grid is not None  # a DSM always has one
        rows, cols = place.dsm.grid.shape
        for row in range(0, rows, cutter.tile):
            for col in range(0, cols, cutter.tile):
                batches.append(collate([cutter.sample(place, row, col)]))
    return batches


def collate(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Return the samples as one batch. Tensors are [B, C, H, W] of normalised values in [-1, 1]."""
    return {key: torch.from_numpy(np.stack([np.ascontiguousarray(s[key]) for s in samples])) for key in samples[0]}
