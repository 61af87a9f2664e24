"""Batches of patches from the cached samples of ``refbench.training.wild``, images left out at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.geometry.nodata_fill import filled
from refbench.training.wild import read_sample
from refbench_resdepth.normalise import patch_mean
from refbench_resdepth.training.augment import augment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.training.wild import WildSample
    from refbench_resdepth.config import WildConfig
    from refbench_resdepth.scale import Scale

    Batch = dict[str, torch.Tensor]

MATCHED_FRACTION = 0.4
"""Fraction of the patches whose DSM was matched, not degraded."""
HOLE_WEIGHT = 0.25
"""What pixels count whose input is unknown: their heights do not reach the output."""


def patch(
    sample: WildSample, at: tuple[int, int], tile: int, order: Sequence[int], scale: Scale, config: WildConfig
) -> dict[str, NDArray[np.float32]]:
    """Return ``x`` [4, tile, tile] (heights, two images, holes), ``y`` and ``weight`` [1, tile, tile], normalised.

    ``order`` holds the images that take the first places; the other channels are 0.
    """
    row, col = at
    window = slice(row, row + tile), slice(col, col + tile)
    heights, reference = sample.initial[window], sample.reference[window]
    std = scale.height_std(sample.gsd)
    unknown = np.isnan(heights)
    mean = np.float32(patch_mean(heights))
    known = np.where(unknown.all(), reference, filled(heights))
    x = np.zeros((4, tile, tile), np.float32)
    x[0] = (known - mean) / std
    for place, index in enumerate(order):
        x[1 + place] = sample.images[index][window]
    x[3] = unknown
    y = (reference - mean) / std
    keep = config.keep_m / (scale.height_std(0.5))
    weight = np.where(np.abs(y - x[0]) < keep, config.keep_weight, 1.0) * np.where(unknown, HOLE_WEIGHT, 1.0)
    weight = np.where(np.isfinite(y), weight, 0.0)
    return {"x": x, "y": np.nan_to_num(y)[None].astype(np.float32), "weight": weight[None].astype(np.float32)}


def _by_seed(files: Sequence[Path]) -> list[tuple[list[Path], list[Path]]]:
    """Return the matched and the degraded samples of every seed."""
    found: dict[str, tuple[list[Path], list[Path]]] = {}
    for path in sorted(files):
        _, seed, variant = path.stem.split("-")
        found.setdefault(seed, ([], []))[int(variant != "0")].append(path)
    return list(found.values())


class WildBatches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Batch n: patches of files, places, orders and turns drawn from the seed and n."""

    def __init__(self, files: Sequence[Path], scale: Scale, config: WildConfig, seed: int) -> None:
        """Take the sample files; raises ``InputError`` where there are none."""
        if not files:
            raise InputError(f"The cache {config.cache} holds no training samples.")
        self.scale, self.config, self.seed = scale, config, seed
        self.groups = [(list(matched), list(others)) for matched, others in _by_seed(files)]

    def __getitem__(self, number: int) -> Batch:
        """Return ``x`` [B, 4, T, T], ``y`` and ``weight`` [B, 1, T, T] of batch ``number``."""
        rng = derived_rng(self.seed, "wild batch", number)
        odds = np.array(self.config.image_odds) / sum(self.config.image_odds)
        patches: list[dict[str, NDArray[np.generic]]] = []
        while len(patches) < self.config.batch_size:
            matched, others = self.groups[int(rng.integers(len(self.groups)))]
            pool = matched if matched and (not others or rng.random() < MATCHED_FRACTION) else others
            sample = read_sample(pool[int(rng.integers(len(pool)))])
            room = sample.initial.shape[0] - self.config.tile_size
            at = int(rng.integers(room + 1)), int(rng.integers(room + 1))
            order = rng.permutation(2)[: int(rng.choice(3, p=odds))].tolist()
            turns, vertical, horizontal = int(rng.integers(4)), bool(rng.integers(2)), bool(rng.integers(2))
            found = patch(sample, at, self.config.tile_size, order, self.scale, self.config)
            if not np.isfinite(found["x"]).all():
                continue
            patches.append({key: augment(value, turns, vertical, horizontal) for key, value in found.items()})
        return {key: torch.from_numpy(np.stack([p[key] for p in patches])) for key in patches[0]}
