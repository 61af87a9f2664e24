"""ImpliCity as a method of refbench: tiles of points and images in, heights out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import TileMethod
from refbench.contracts.errors import ConfigError, UnsupportedError, WeightsError
from refbench.contracts.estimate import Estimate
from refbench.training.learnt import first_network, for_fewer_inputs, without_weights
from refbench_implicity.config import VARIANTS, ImpliCityConfig, ModelConfig, published
from refbench_implicity.images import OrthoPatches
from refbench_implicity.network.network import build_model
from refbench_implicity.normalise import resolve_normalisation
from refbench_implicity.official.chunk_files import CHUNK_INFO, read_chunks
from refbench_implicity.patch_frame import PatchFrame, strictly_inside, z_origin
from refbench_implicity.surface import extract_surface
from refbench_implicity.tiling import patch_extent, patch_pixels, plan_patches
from refbench_implicity.weights import architecture_of, filled_network, read_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene, TileBatch, TilePlan
    from refbench.training import Trained
    from refbench_implicity.weights import Stored

BUILT_IN = Path(__file__).parent / "weights"
SPEED = 25.0
"""CPU seconds for a megapixel of patches."""
COLUMN_BYTES = 4000
"""Memory of a patch for each of its pixels."""
CONSTANTS = ("patch_size", "pixel_size", "threshold")


class ImpliCity(TileMethod):
    """Occupancy field from points and, in the variants mono and stereo, ortho images.

    Scenes with fewer images than the network takes fall back to weights for fewer, where there are any.
    """

    def __init__(self, config: ImpliCityConfig | None = None, weights: Path | None = None) -> None:
        """Open the weights; without any, a fresh network of the configured variant is there to be trained.

        Raises
        ------
        WeightsError
            The weights are damaged, or of another architecture than the configuration asks for.
        """
        self.config = config or ImpliCityConfig()
        self.is_trained = weights is not None
        self.notes: tuple[str, ...] = ()
        self._orthos: OrthoPatches | None = None
        self._empty_height: float | None = None
        if weights is None:
            self._adopt(None, self.config.model or ModelConfig.of_variant(self.config.variant or "stereo"))
        else:
            self._open(Path(weights), self.config.model)

    def _open(self, path: Path, model: ModelConfig | None) -> None:
        """Load weights that the configuration asked for."""
        stored = read_model(path)
        variant = self.config.variant if model is None else model.variant
        found = stored.model or model or architecture_of(stored)
        if variant is not None and found.variant != variant:
            # Weights that go by the name of their variant stand for the set of all three.
            other = next(for_fewer_inputs(path, BUILT_IN, [str(variant)]), None) if path.name == found.variant else None
            if other is None:
                raise WeightsError(f"{path} is ImpliCity-{found.variant}; the configuration asks for -{variant}.")
            stored = read_model(other)
            found = architecture_of(stored)
        if model is not None and found != model:
            raise WeightsError(
                f"{stored.path} has another architecture than the configuration's model section: "
                f"{_first_difference(model, found)}. Give weights of that architecture with --weights, or no model."
            )
        self._adopt(stored, found)

    def _adopt(self, stored: Stored | None, model: ModelConfig) -> None:
        """Build the network and take the constants that belong to its weights."""
        self.model = model
        self.net = build_model(model).eval() if stored is None else filled_network(stored, model)
        self.weights_used: Path | None = None if stored is None else stored.path
        carried: Mapping[str, Any] = {} if stored is None else stored.meta
        self.normalisation, self.notes = resolve_normalisation(
            self.config.normalisation, carried.get("normalisation") or {}, images=model.n_images > 0
        )
        self.constants = {name: self._constant(name, carried) for name in CONSTANTS}

    def _constant(self, name: str, carried: Mapping[str, Any]) -> float:
        """Return a constant from the configuration, else as carried by the weights, else the published one."""
        configured = getattr(self.config, name)
        return float(carried.get(name, getattr(published, name)) if configured is None else configured)

    @property
    def patch_size(self) -> float:
        """Side of a patch in metres."""
        return self.constants["patch_size"]

    def prepare(self, scene: Scene, context: Context) -> dict[str, Any]:
        """Choose the variant that the scene can feed, scale its images, and say what was decided."""
        del context
        if not self.is_trained:
            raise without_weights("ImpliCity", "implicity")
        names = _image_names(scene)
        notes = [*self.choose_weights(scene), *self.notes]
        used = names[: self.model.n_images]
        self._orthos = None
        if self.model.image_encoder is not None:
            sources = [scene.orthos[name] for name in used]
            self._orthos = OrthoPatches(
                sources,
                [self.normalisation.image_scale(source) for source in sources],
                self.normalisation.bands,
                self.constants["pixel_size"],
                self.model.image_encoder.image_multiple,
            )
            if (sentence := self._orthos.resampling()) is not None:
                notes.append(sentence)
        if self.config.surface.fill_patches and scene.points is not None:
            self._empty_height = z_origin(scene.points.read().xyz[:, 2], "median")
        return {
            "variant": self.model.variant,
            "weights": None if self.weights_used is None else str(self.weights_used),
            "images": list(used),
            "normalisation": self.normalisation.as_dict(),
            **self.constants,
            "remarks": notes,
        }

    def orthos(self, scene: Scene) -> tuple[str, ...]:
        """Return nothing: images are read at the pixel size of the network, not at the grid's."""
        del scene
        return ()

    def plan(self, grid: Grid) -> TilePlan:
        """Return patches every ``patch_stride`` metres, half a patch by default."""
        stride = self.config.patch_stride or self.patch_size / 2
        pair = stride if isinstance(stride, tuple) else (stride, stride)
        return plan_patches(grid, self.patch_size, pair, self.config.surface.half_blend, self._areas(grid))

    def refine_tiles(self, batch: TileBatch, context: Context) -> NDArray[np.float32]:
        """Return heights float32 [N, rows, cols] above the offset; NaN in patches without points."""
        device = torch.device(context.device)
        self.net.to(device)
        points = batch.points
        if points is None:
            raise UnsupportedError("ImpliCity needs a point cloud.")
        heights = []
        for index in range(len(batch)):
            context.check_cancelled()
            offset = float(batch.height_offset[index])
            heights.append(self._patch(points[index], batch.anchors[index], offset, batch.grid, device))
        return np.stack(heights)

    def _patch(
        self,
        points: NDArray[np.float64],
        anchor: NDArray[np.float64],
        offset: float,
        grid: Grid,
        device: torch.device,
    ) -> NDArray[np.float32]:
        """Return the heights of one patch from its points, relative to ``anchor`` and ``offset``."""
        shape, size = patch_pixels(grid, self.patch_size), patch_extent(grid, self.patch_size)
        inside = ((points[:, :2] > 0) & (points[:, :2] < size)).all(axis=1)
        points = points[inside]
        shift = z_origin(points[:, 2], self.normalisation.z_shift)
        frame = PatchFrame(np.zeros(2), size, shift, self.normalisation.z_std)
        inputs = frame.normalise(points)
        inputs = inputs[strictly_inside(inputs)]
        if not len(inputs):
            return np.full(shape, np.nan if self._empty_height is None else self._empty_height - offset, np.float32)
        image = None if self._orthos is None else self._orthos.patch(anchor, size).to(device)
        with torch.inference_mode():
            planes = self.net.encode(torch.from_numpy(inputs)[None].to(device), image)
        surface = extract_surface(
            self.net,
            planes,
            shape,
            self.config.surface,
            z_std=self.normalisation.z_std,
            threshold=self.constants["threshold"],
        )
        return surface.metres(self.normalisation.z_std, shift, fill_empty=self.config.surface.fill_empty)

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of all patches on a scene: the field is asked at every pixel, whatever the encoders."""
        plan = self.plan(scene.require_grid())
        work = len(plan) * plan.height * plan.width / 1e6
        return Estimate(COLUMN_BYTES * plan.height * plan.width, SPEED * work)

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Trained:
        """Train from these weights, or afresh; see ``fit_scenes`` and ``fit_official`` for the options and errors."""
        from refbench_implicity.training.fit import Start, fit_official, fit_scenes  # Fabric: for training only

        if not scenes and self.config.dataset.path is None:
            raise ConfigError("Training needs scenes with a reference, or a configuration that names a data set.")
        net = first_network(self.net if self.is_trained else None, context.seed, lambda: build_model(self.model))
        start = Start(net, self.normalisation, self.constants, is_fresh=not self.is_trained)
        if scenes:
            return fit_scenes(start, self.config, scenes, context, steps=steps, folder=folder, resume=resume)
        return fit_official(start, self.config, context, steps=steps, folder=folder, resume=resume)

    def choose_weights(self, scene: Scene) -> list[str]:
        """Switch to weights for fewer images where the scene has too few; return what was done."""
        asked, images = self.model, len(_image_names(scene))
        if images >= asked.n_images:
            return []
        for path in for_fewer_inputs(self.weights_used, BUILT_IN, VARIANTS[images::-1]):
            stored = read_model(path)
            self._adopt(stored, architecture_of(stored))
            return [
                f"The scene has {images} of {asked.n_images} ortho images: "
                f"fell back from ImpliCity-{asked.variant} to -{self.model.variant} ({path.name})."
            ]
        raise UnsupportedError(
            f"ImpliCity-{asked.variant} needs {asked.n_images} ortho images, the scene has {images}, and there are no "
            "weights for fewer; give the images, or weights of ImpliCity-0 with --weights."
        )

    def _areas(self, grid: Grid) -> Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the rectangles of the configured test chunks where they make up ``grid``, else nothing."""
        dataset = self.config.dataset
        if dataset.path is None or not (Path(dataset.path) / CHUNK_INFO).is_file():
            return ()
        areas = [(chunk.low, chunk.high) for chunk in read_chunks(Path(dataset.path), dataset.test_chunks)]
        low, high = np.min([a[0] for a in areas], axis=0), np.max([a[1] for a in areas], axis=0)
        bounds = grid.bounds
        gap = np.abs([low[0] - bounds.west, high[1] - bounds.north, high[0] - bounds.east, low[1] - bounds.south])
        return areas if gap.max() < max(grid.resolution) else ()


def _image_names(scene: Scene) -> tuple[str, ...]:
    """Return the images to use, in order: those of the first pair, else all by name."""
    return tuple(scene.pairs[0]) if scene.pairs else tuple(sorted(scene.orthos))


def _first_difference(asked: ModelConfig, found: ModelConfig) -> str:
    """Say where two architectures differ."""
    pairs = zip(_flat("", dataclasses.asdict(asked)), _flat("", dataclasses.asdict(found)), strict=False)
    return next((f"{a} is asked for, {b} stored" for a, b in pairs if a != b), "their parts differ")


def _flat(prefix: str, values: Mapping[str, Any]) -> list[str]:
    out = []
    for key, value in values.items():
        out += _flat(f"{prefix}{key}.", value) if isinstance(value, dict) else [f"{prefix}{key} = {value}"]
    return out
