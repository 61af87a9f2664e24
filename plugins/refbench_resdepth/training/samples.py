"""Training and validation samples, cut by window from rasters (docs/methods/resdepth.md, Regions and samples)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import Window
from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.geometry.image_scale import one_band
from refbench.geometry.nodata_fill import filled
from refbench_resdepth.normalise import patch_mean
from refbench_resdepth.regions import tile_starts
from refbench_resdepth.training.augment import augment
from refbench_resdepth.training.loss_mask import own_part, reference_mask
from refbench_resdepth.training.sampling import Positions, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import DSM, Image, Mask
    from refbench.contracts.source import RasterSource
    from refbench.geometry.image_scale import ImageScale
    from refbench_resdepth.config import ModelConfig, TrainingConfig
    from refbench_resdepth.regions import Extent
    from refbench_resdepth.scale import Scale

    Sample = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Area:
    """What one data set offers: rasters on one grid, the tuples of images, and where samples lie.

    ``own_scales`` are the images' own scales under the rule ``robust``.
    """

    name: str
    dsm: RasterSource[DSM]
    reference: RasterSource[DSM]
    images: Mapping[str, RasterSource[Image]]
    tuples: tuple[tuple[str, ...], ...]
    extents: tuple[Extent, ...]
    n_samples: int = 0
    reference_valid: RasterSource[Mask] | None = None
    own_scales: Mapping[str, ImageScale] | None = None

    def heights(self, y: int, x: int, tile: int) -> NDArray[np.float32]:
        """Return the initial heights [tile, tile] at row ``y`` and column ``x``, NaN where unknown."""
        return np.asarray(self.dsm.read(Window(x, y, tile, tile)).heights, np.float32)

    def true_heights(self, y: int, x: int, tile: int) -> NDArray[np.float32]:
        """Return the true heights [tile, tile], NaN where they are unknown or do not count."""
        window = Window(x, y, tile, tile)
        heights = np.asarray(self.reference.read(window).heights, np.float32)
        if self.reference_valid is None:
            return heights
        return np.where(self.reference_valid.read(window).is_class, heights, np.float32(np.nan))

    def pixels(self, names: Sequence[str], y: int, x: int, tile: int) -> NDArray[np.float32]:
        """Return image values [views, tile, tile], NaN where invalid. Levels of the image."""
        window = Window(x, y, tile, tile)
        return np.stack([one_band(self.images[n].read(window), "mean").astype(np.float32) for n in names])


class Cutter:
    """Makes network samples of patches: ``x`` [C, T, T], ``y`` and ``mask`` [1, T, T], ``mean`` and ``std`` []."""

    def __init__(self, model: ModelConfig, scale: Scale, tile: int) -> None:
        self.model, self.scale, self.tile = model, scale, tile

    def sample(self, area: Area, at: tuple[int, int], names: Sequence[str], own: NDArray[np.bool_] | None) -> Sample:
        """Return the sample at row and column ``at``; ``own`` [T, T] restricts the loss mask."""
        y, x = at
        initial, reference = area.heights(y, x, self.tile), area.true_heights(y, x, self.tile)
        mask = reference_mask(reference)
        mean, std = np.float32(patch_mean(initial)), np.float32(self.scale.dsm_std)
        channels = []
        if self.model.has_dsm:
            known = filled(initial)
            channels.append((np.where(np.isnan(known), mean, known) - mean)[None] / std)
        if self.model.n_images:
            pixels = area.pixels(names, y, x, self.tile)
            channels.append(self.scale.images(pixels, names, area.own_scales or {}))
        return {
            "x": np.concatenate(channels).astype(np.float32),
            "y": (np.where(mask, reference - mean, 0)[None] / std).astype(np.float32),
            "mask": (mask if own is None else mask & own)[None],
            "mean": np.asarray(mean),
            "std": np.asarray(std),
        }


class TrainSamples:
    """The samples of an epoch: patches drawn once, each with all tuples of images or with one.

    Several tuples are used by ``geom-stereo`` only, as published for that mode; here ``geom-mono`` and
    ``geom-multiview`` use theirs, too.
    """

    def __init__(self, areas: Sequence[Area], cutter: Cutter, config: TrainingConfig, seed: int) -> None:
        """Draw the positions as the official code does after seeding numpy with ``seed``.

        Raises
        ------
        InputError
            More samples are asked for than there are positions.
        """
        self.areas, self.cutter, self.config, self.seed = areas, cutter, config, seed
        self.positions, chosen, area_of = [], [], []
        random = np.random.RandomState(seed)
        for number, area in enumerate(areas):
            places = Positions(area.extents, cutter.tile)
            try:
                drawn = places.at(draw(len(places), area.n_samples, random))
            except InputError as error:
                raise InputError(f"{area.name}: {error}") from error
            count = len(area.tuples)
            if config.use_all_stereo_pairs or count == 1:
                drawn, pair = np.repeat(drawn, count, axis=0), np.tile(np.arange(count), len(drawn))
            else:
                pair = random.randint(0, count, len(drawn))
            self.positions.append(drawn)
            chosen.append(pair)
            area_of.append(np.full(len(drawn), number))
        self._at = np.concatenate(self.positions)
        self._tuple, self._area = np.concatenate(chosen), np.concatenate(area_of)

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        return len(self._at)

    def sample(self, index: int, epoch: int) -> Sample:
        """Return sample ``index`` as it is seen in ``epoch``: images permuted, turned and flipped."""
        rng = derived_rng(self.seed, "sample", epoch, index)
        area = self.areas[int(self._area[index])]
        names = area.tuples[int(self._tuple[index])]
        if self.config.permute_images_within_pair and len(names) > 1:
            names = tuple(names[i] for i in rng.permutation(len(names)))
        y, x = self._at[index].tolist()
        sample = self.cutter.sample(area, (y, x), names, None)
        if self.config.augment:
            turns, vertical, horizontal = int(rng.integers(4)), bool(rng.integers(2)), bool(rng.integers(2))
            for key in ("x", "y", "mask"):
                sample[key] = augment(sample[key], turns, vertical, horizontal)
        return sample


class GridSamples:
    """The regular grid of tiles of every area, each with all tuples of images: validation and test samples.

    The mask holds the pixels of each tile's own intervals only. ``stride`` None takes the tile: no overlap.
    """

    def __init__(self, areas: Sequence[Area], cutter: Cutter, stride: int | None = None) -> None:
        tile = cutter.tile
        self.areas, self.cutter = areas, cutter
        self._items: list[tuple[int, int, tuple[int, int, int], tuple[int, int, int]]] = []
        for number, area in enumerate(areas):
            for pair in range(len(area.tuples)):
                for extent in area.extents:
                    rows = tile_starts(extent.y_first, extent.y_last, tile, stride or tile)
                    cols = tile_starts(extent.x_first, extent.x_last, tile, stride or tile)
                    self._items += [(number, pair, row, col) for row in rows for col in cols]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample."""
        number, pair, (y, row_first, row_last), (x, col_first, col_last) = self._items[index]
        own = own_part(self.cutter.tile, (row_first, row_last), (col_first, col_last))
        area = self.areas[number]
        return self.cutter.sample(area, (y, x), area.tuples[pair], own)


class EpochBatches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Batch n of a training: the samples of an epoch in an order drawn from the seed, the last batch may be short."""

    def __init__(self, samples: TrainSamples, size: int) -> None:
        self.samples, self.size = samples, size

    @property
    def per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return -(-len(self.samples) // self.size)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Return batch ``number``, counted through all epochs."""
        epoch, place = divmod(number, self.per_epoch)
        order = derived_rng(self.samples.seed, "shuffle", epoch).permutation(len(self.samples))
        chosen = order[place * self.size : (place + 1) * self.size].tolist()
        return collate([self.samples.sample(index, epoch) for index in chosen])


def collate(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Return the samples as one batch. Tensors are [B, C, H, W] of normalised values."""
    return {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}
