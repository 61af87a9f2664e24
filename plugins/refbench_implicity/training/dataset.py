"""Data-set items as the official code makes them: patches of a sliding window or random crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.contracts.errors import ConfigError, InputError
from refbench_implicity.config import ImpliCityConfig, published
from refbench_implicity.official.chunk_files import Chunk, OrthoFiles, Queries, read_chunks
from refbench_implicity.patch_frame import Augmentation, PatchFrame, strictly_inside, z_origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SPLITS_WITH_QUERIES = ("train", "val")


@dataclass(frozen=True)
class PatchItem:
    """One patch. Points are float32 in the patch frame; ``transform`` [4, 4] maps them to world metres.

    ``labels`` float32 [M] are {0, 1}, or {0, 1, 2} for three classes; ``masks`` are bool [M]; ``image`` is float32
    [images, rows, cols] north-up, or None. Without queries ``query`` has no rows.
    """

    name: str
    inputs: NDArray[np.float32]
    transform: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    query: NDArray[np.float32]
    labels: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.bool_]]
    image: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ItemRules:
    """What the official configuration says of an item; field names are its keys."""

    patch_size: tuple[float, float] = (64.0, 64.0)
    z_std: float = 29.83779098
    z_shift: str = "median"
    n_input_points: int | None = None
    n_query_points: int | None = None
    subsample_val: bool = False
    use_surface: tuple[str, ...] = ("roof", "facade", "terrain")
    multi_label: bool = False
    rotate: bool = False
    flip: bool = False
    random_dataset_length: int = 6400
    strips: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: ImpliCityConfig) -> ItemRules:
        """Return the rules of a configuration; what it leaves open takes the published value."""
        dataset, normalisation, training = config.dataset, config.normalisation, config.training
        size = config.patch_size or published.patch_size
        return cls(
            patch_size=(size, size),
            z_std=normalisation.z_std or published.z_std,
            z_shift=normalisation.z_shift or published.z_shift,
            n_input_points=dataset.n_input_points,
            n_query_points=dataset.n_query_points,
            subsample_val=dataset.subsample_val,
            use_surface=dataset.use_surface or (),
            multi_label=config.model is not None and config.model.multi_label,
            rotate=training.augmentation.rotate,
            flip=training.augmentation.flip,
            random_dataset_length=training.random_dataset_length,
            strips={"val": dataset.val_strip, "vis": dataset.vis_strip, "test": dataset.test_strip},
        )


def window_anchors(
    low: NDArray[np.float64], high: NDArray[np.float64], size: NDArray[np.float64], stride: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the south-west corners [n, 2] of a sliding window over a chunk, x running fastest.

    The last position of each axis ends at the chunk's edge.
    All in metres of the chunk's CRS; limits, size and stride are [2].
    """
    if (high - low < size - 1e-6).any():
        raise InputError(f"A chunk of {(high - low).tolist()} m is smaller than the patch of {size.tolist()} m.")
    last = high - size
    xs, ys = (np.append(np.arange(low[a], last[a], stride[a]), last[a]) for a in (0, 1))
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


class ChunkItems:
    """Cuts items out of chunks; everything is read when it is first needed."""

    def __init__(self, chunks: Sequence[Chunk], rules: ItemRules, split: str, images: OrthoFiles | None) -> None:
        """Take the ``chunks`` of one ``split`` ("train", "val", "test", "vis")."""
        if not chunks:
            raise InputError(f"dataset.{split}_chunks is empty; name at least one chunk.")
        self.chunks, self.rules, self.split, self.images = list(chunks), rules, split, images
        self.size = np.asarray(rules.patch_size)
        self._queries: dict[int, Queries] = {}

    def _queries_of(self, chunk: Chunk) -> Queries:
        if chunk.number not in self._queries:
            self._queries[chunk.number] = chunk.queries(("uniform", *self.rules.use_surface))
        return self._queries[chunk.number]

    def cut(
        self,
        chunk: Chunk,
        anchor: NDArray[np.float64],
        name: str,
        augmentation: Augmentation | None = None,
        rng: np.random.Generator | None = None,
    ) -> PatchItem:
        """Return the item whose south-west corner is ``anchor`` [2]; ``rng`` draws the subsamples.

        Metres in the chunk's CRS.
        """
        rules, high = self.rules, anchor + self.size
        index = chunk.points.inside(anchor, high)
        points = chunk.points.xyz[index]
        shift = z_origin(points[:, 2], rules.z_shift)
        frame = PatchFrame(anchor, self.size, shift, rules.z_std, augmentation or Augmentation())
        inputs = frame.normalise(_subsample(points, rules.n_input_points, rng))
        query, labels, masks = self._cut_queries(chunk, frame, rng)
        image = None
        if self.images is not None:
            image = frame.augmentation.image(self.images.patch(anchor, self.size))
        inputs = inputs[strictly_inside(inputs)]
        return PatchItem(name, inputs, frame.to_world, anchor, high, query, labels, masks, image)

    def _cut_queries(
        self, chunk: Chunk, frame: PatchFrame, rng: np.random.Generator | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, NDArray[np.bool_]]]:
        if self.split not in SPLITS_WITH_QUERIES:
            return np.empty((0, 3), np.float32), np.empty(0, np.float32), {}
        queries = self._queries_of(chunk)
        index = queries.points.inside(frame.anchor, frame.anchor + frame.size)
        if self.split == "train" or self.rules.subsample_val:
            index = _subsample(index, self.rules.n_query_points, rng)
        points = frame.normalise(queries.points.xyz[index])
        inside = strictly_inside(points)
        index = index[inside]
        labels = np.asarray(queries.labels[index], np.float32)
        if not self.rules.multi_label:
            labels = (labels > 0).astype(np.float32)
        return points[inside], labels, {name: mask[index] for name, mask in queries.masks.items()}


def _subsample(rows: NDArray[Any], count: int | None, rng: np.random.Generator | None) -> NDArray[Any]:
    if count is None or not len(rows):
        return rows
    if rng is None:
        raise InputError("A random subsample needs a generator: pass rng.")
    return rows[rng.integers(len(rows), size=count)]


class SlidingWindowItems(torch.utils.data.Dataset[PatchItem]):
    """The patches of the val, test or vis split (or of any split, with ``stride``), chunk by chunk."""

    def __init__(self, items: ChunkItems, stride: tuple[float, float] | None = None, seed: int = 0) -> None:
        """Lay the window out; ``stride`` defaults to the configured one of the split."""
        if stride is None:
            if items.split not in items.rules.strips:
                raise ConfigError(f"dataset.sliding_window.{items.split}_strip is missing.")
            stride = items.rules.strips[items.split]
        self.items, self.seed = items, seed
        step = np.asarray(stride, np.float64)
        lists = [window_anchors(chunk.low, chunk.high, items.size, step) for chunk in items.chunks]
        self.anchors = np.concatenate(lists)
        self.chunk_of = np.repeat(np.arange(len(lists)), [len(part) for part in lists])

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.anchors)

    def __getitem__(self, index: int) -> PatchItem:
        """Return patch ``index``; the same one every time."""
        chunk = self.items.chunks[int(self.chunk_of[index])]
        rng = np.random.default_rng([self.seed, 1, index])
        return self.items.cut(chunk, self.anchors[index], f"{chunk.name}-patch{index}", rng=rng)


class RandomCropItems(torch.utils.data.Dataset[PatchItem]):
    """Random crops for training. Draw ``n`` is a pure function of the seed and ``n``, whoever asks for it."""

    def __init__(self, items: ChunkItems, seed: int = 0) -> None:
        """Draw from ``items``; a pass has ``random_dataset_length`` draws in shuffled order."""
        self.items, self.seed = items, seed

    def __len__(self) -> int:
        """Return the length of one pass."""
        return self.items.rules.random_dataset_length

    def anchor(self, chunk: Chunk, generator: torch.Generator) -> NDArray[np.float64]:
        """Return a random south-west corner in ``chunk``, on whole image pixels where there are images.

        Float64 [2], metres in the chunk's CRS.
        """
        room = chunk.high - chunk.low - self.items.size
        if (room < -1e-6).any():
            raise InputError(f"Chunk {chunk.name} is smaller than a patch of {self.items.size.tolist()} m.")
        offset = torch.rand(2, generator=generator, dtype=torch.float64).numpy() * room
        if self.items.images is not None:
            pixel = self.items.images.pixel
            offset = np.floor(offset / pixel) * pixel
        found: NDArray[np.float64] = chunk.low + offset
        return found

    def __getitem__(self, draw: int) -> PatchItem:
        """Return draw ``draw``, any number from 0: pass ``draw // length``, its place in that pass's shuffle."""
        turn, place = divmod(draw, len(self))
        index = int(np.random.default_rng([self.seed, 2, turn]).permutation(len(self))[place])
        chunk = self.items.chunks[index % len(self.items.chunks)]
        rng = np.random.default_rng([self.seed, 3, turn, index])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        augmentation = Augmentation.draw(rng, rotate=self.items.rules.rotate, flip=self.items.rules.flip)
        return self.items.cut(chunk, self.anchor(chunk, generator), f"{chunk.name}-draw{draw}", augmentation, rng)


def official_items(config: ImpliCityConfig, split: str) -> ChunkItems:
    """Return the items of one split (``train``, ``val``, ``test`` or ``vis``) of a configuration's data set.

    Raises
    ------
    ConfigError
        The configuration names no data set.
    MissingFileError
        A file of the data set is missing.
    """
    dataset = config.dataset
    if dataset.path is None:
        raise ConfigError("dataset.path is missing: name the folder with chunk_info.yaml.")
    rules = ItemRules.from_config(config)
    numbers: tuple[int, ...] = getattr(dataset, f"{split}_chunks")
    chunks = read_chunks(Path(dataset.path), numbers, max(min(rules.patch_size) / 4, 1.0))
    images = None
    if dataset.satellite_image is not None:
        block, scale = dataset.satellite_image, config.normalisation
        mean = published.image_mean if scale.image_mean is None else scale.image_mean
        std = published.image_std if scale.image_std is None else scale.image_std
        images = OrthoFiles([Path(block.folder) / name for name in block.pairs], mean, std)
    return ChunkItems(chunks, rules, split, images)
