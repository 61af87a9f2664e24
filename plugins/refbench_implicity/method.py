"""ImpliCity as a method of refbench: tiles of points and images in, heights out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import TileMethod
from refbench.contracts.errors import SkippedError, UnsupportedError, WeightsError
from refbench.weights.weights_folder import is_weights_folder
from refbench_implicity.config import VARIANTS, ImpliCityConfig, ModelConfig, published
from refbench_implicity.images import OrthoPatches
from refbench_implicity.network.network import build_model
from refbench_implicity.normalise import resolve_normalisation
from refbench_implicity.official.chunk_files import CHUNK_INFO, read_chunks
from refbench_implicity.patch_frame import PatchFrame, strictly_inside, z_origin
from refbench_implicity.surface import extract_surface
from refbench_implicity.tiling import patch_extent, patch_pixels, plan_patches
from refbench_implicity.weights import fill_model, published_architecture, read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene, TileBatch, TilePlan
    from refbench_implicity.weights import StoredModel

BUILT_IN = Path(__file__).parent / "weights"
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
        found = stored.model or model or published_architecture(stored)
        if variant is not None and found.variant != variant:
            # Weights that go by the name of their variant stand for the set of all three.
            other = self._sibling(path, VARIANTS.index(variant)) if path.name == found.variant else None
            if other is None:
                raise WeightsError(f"{path} is ImpliCity-{found.variant}; the configuration asks for -{variant}.")
            stored = read_model(other)
            found = stored.model or published_architecture(stored)
        if model is not None and found != model:
            raise WeightsError(
                f"{stored.path} has another architecture than the configuration's model section: "
                f"{_first_difference(model, found)}. Give weights of that architecture with --weights, or no model."
            )
        self._adopt(stored, found)

    def _adopt(self, stored: StoredModel | None, model: ModelConfig) -> None:
        """Build the network and take the constants that belong to its weights."""
        self.model = model
        self.net = build_model(model).eval()
        self.weights = None if stored is None else stored.path
        if stored is not None:
            fill_model(self.net, stored)
        carried: Mapping[str, Any] = {} if stored is None else stored.constants
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
            raise SkippedError(
                "ImpliCity has no weights; import some with refbench import-weights --method implicity, or train it."
            )
        names = _image_names(scene)
        notes = [*self._fall_back(len(names)), *self.notes]
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
            "weights": None if self.weights is None else str(self.weights),
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

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> dict[str, Any]:
        """Train the network in place; see ``fit.fit`` for the options and errors."""
        from refbench_implicity.training.fit import fit  # Lightning is loaded for training only

        return fit(self, scenes, context, steps=steps, folder=folder, resume=resume)

    def save(
        self, folder: Path, *, provenance: Mapping[str, Any] | None = None, card: str = "", half: bool = False
    ) -> None:
        """Write a weights folder; ``half`` stores float16, ``card`` is the model card."""
        write_model(
            folder,
            self.net,
            self.model,
            self.normalisation,
            self.constants,
            provenance=provenance or {},
            card=card or f"# ImpliCity-{self.model.variant}\n\nTrained with refbench.\n",
            half=half,
        )

    def _fall_back(self, images: int) -> list[str]:
        """Switch to weights for fewer images where the scene has too few; return what was done."""
        asked = self.model
        if images >= asked.n_images:
            return []
        for count in range(images, -1, -1):
            path = None if self.weights is None else self._sibling(self.weights, count)
            if path is not None:
                stored = read_model(path)
                self._adopt(stored, stored.model or published_architecture(stored))
                return [
                    f"The scene has {images} of {asked.n_images} ortho images: "
                    f"fell back from ImpliCity-{asked.variant} to -{self.model.variant} ({path.name})."
                ]
        raise UnsupportedError(
            f"ImpliCity-{asked.variant} needs {asked.n_images} ortho images, the scene has {images}, and there are no "
            "weights for fewer; give the images, or weights of ImpliCity-0 with --weights."
        )

    @staticmethod
    def _sibling(path: Path, images: int) -> Path | None:
        """Return the weights for so many images that lie beside ``path``, else the built-in ones."""
        folder = path if path.is_dir() else path.parent
        for parent in (folder.parent, BUILT_IN):
            if is_weights_folder(found := parent / VARIANTS[images]):
                return found
        return None

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
