"""ResDepth as a method of refbench: tiles of a DSM and ortho images in, heights out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import TileMethod
from refbench.contracts.errors import ConfigError, InputError, SkippedError, UnsupportedError, WeightsError
from refbench.geometry.nodata_fill import continued, filled, inside
from refbench.training.learnt import first_network, for_fewer_inputs, tiles_cost, without_weights
from refbench_resdepth.config import ModelConfig, ResDepthConfig
from refbench_resdepth.ensemble import image_tuples, layer_name, orders, symmetries
from refbench_resdepth.network.fused import FusedUNet
from refbench_resdepth.network.network import UNet
from refbench_resdepth.normalise import normalise_heights, patch_mean
from refbench_resdepth.scale import resolve_scale
from refbench_resdepth.shrinkage import combined, shrunk, standard_deviation
from refbench_resdepth.tiling import plan_tiles
from refbench_resdepth.weights import FACTS, filled_network, read_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene, TileBatch, TilePlan
    from refbench.contracts.estimate import Estimate
    from refbench.geometry.image_scale import ImageScale
    from refbench.training import Trained
    from refbench_resdepth.ensemble import Names
    from refbench_resdepth.scale import Scale
    from refbench_resdepth.weights import Stored

BUILT_IN = Path(__file__).parent / "weights"
BY_IMAGES = ("0", "mono", "stereo")
"""Names of the weights for so many images."""
CONFIDENCE = "confidence"
CUDA_BATCH = 16
SPEED = 0.7
"""CPU seconds for a megapixel of tiles and a million parameters."""


class ResDepth(TileMethod):
    """A U-Net that corrects an initial DSM from its own shape and from ortho images.

    Several tuples of images give a DSM each; ``dsm`` is their mean.
    """

    def __init__(self, config: ResDepthConfig | None = None, weights: Path | None = None) -> None:
        """Open the weights; without any, a fresh network of the configured shape is there to be trained.

        Raises
        ------
        WeightsError
            The weights are damaged, or of another architecture than the configuration asks for.
        """
        self.config = config or ResDepthConfig()
        self.is_trained = weights is not None
        self.weights_used: Path | None = None
        self.scale: Scale | None = None
        self.facts: dict[str, Any] = {}
        self._run: FusedUNet | None = None
        self._tuples: tuple[Names, ...] = ((),)
        self._own_scales: dict[str, ImageScale] = {}
        self._std = 1.0
        if weights is None:
            self.model = self.config.model or ModelConfig()
            self.net = UNet(self.model).eval()
        else:
            self._adopt(read_model(Path(weights)))

    def _adopt(self, stored: Stored) -> None:
        """Build the network and take the constants that belong to its weights."""
        asked = self.config.model
        if stored.model is not None and asked is not None and asked != stored.model:
            raise WeightsError(f"{stored.path} has another architecture than the configuration's model section.")
        self.net = filled_network(stored, asked)
        self.model, self.weights_used, self.facts = self.net.config, stored.path, stored.facts(*FACTS)
        carried = stored.meta.get("normalisation") or {}
        self.scale = resolve_scale(self.config.normalisation, carried, images=self.model.n_images > 0)
        self._run = None

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels: as configured, else as trained, else the official one."""
        configured = self.config.inference.tile_size
        size = int(self.facts.get("tile_size", 256)) if configured is None else configured
        if size % self.model.multiple:
            raise InputError(f"tile_size must be a multiple of {self.model.multiple} for this network, got {size}.")
        return size

    def prepare(self, scene: Scene, context: Context) -> dict[str, Any]:
        """Choose images that the network can take, scale them, and say what was decided."""
        if not self.is_trained or self.scale is None:
            raise without_weights("ResDepth", "resdepth")
        remarks = self.choose_weights(scene)
        there = min(self.model.n_images, len(scene.orthos)) if self.model.optional_images else self.model.n_images
        self._tuples = image_tuples(scene, there)
        self._std = self.scale.height_std(scene.require_grid().gsd)
        used = {name: scene.orthos[name] for name in self.orthos(scene)}
        self._own_scales = self.scale.image_scales(used)
        config = self.config.inference
        self._run = FusedUNet(self.net, config.precision, torch.device(context.device))
        return {
            "inputs": self.model.input_channels,
            "weights": None if self.weights_used is None else str(self.weights_used),
            "images": [list(names) for names in self._tuples],
            "normalisation": self.scale.as_dict(),
            "tile_size": self.tile_size,
            "stride": config.stride(self.tile_size),
            "precision": config.precision,
            "passes_per_tile": len(self._tuples) * len(self._member_orders(self._tuples[0])) * len(symmetries(config)),
            "remarks": remarks,
        }

    def orthos(self, scene: Scene) -> tuple[str, ...]:
        """Return the images of all tuples, each once."""
        del scene
        return self._names

    @property
    def _names(self) -> Names:
        return tuple(dict.fromkeys(name for names in self._tuples for name in names))

    def layers(self) -> tuple[str, ...]:
        """Return one layer per tuple of images where there are several, and the spread where passes are averaged."""
        config = self.config.inference
        several = [layer_name(names) for names in self._tuples] if len(self._tuples) > 1 else []
        spread = [CONFIDENCE] if self.model.uncertainty or config.average_flips or config.average_orders else []
        return (*several, *spread)

    def plan(self, grid: Grid) -> TilePlan:
        """Return the official regular grid of tiles."""
        return plan_tiles(grid, self.tile_size, self.config.inference.stride(self.tile_size))

    def refine_tiles(self, batch: TileBatch, context: Context) -> Mapping[str, NDArray[np.float32]]:
        """Return ``dsm`` float32 [N, rows, cols] above the offset, and the layers; ``confidence`` is a spread in m."""
        if batch.dsm is None:
            raise UnsupportedError("ResDepth needs an initial DSM.")
        if self._run is None or self.scale is None:
            raise SkippedError("ResDepth was not prepared for a scene.")
        count, names = len(batch), self._names
        out = {layer: np.full((count, *batch.dsm.shape[1:]), np.nan, np.float32) for layer in ("dsm", *self.layers())}
        for index in range(count):
            context.check_cancelled()
            part = inside(batch.windows[index], batch.grid)
            images = None if batch.orthos is None else batch.orthos[index]
            tile = self._tile(batch.dsm[index], images, names, part)
            for layer, heights in tile.items():
                out[layer][index] = heights
        return out

    def _tile(
        self, heights: NDArray[np.float32], images: NDArray[np.float32] | None, names: Names, part: tuple[slice, slice]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the layers [rows, cols] of one tile; nothing where it holds no height."""
        assert self.scale is not None  # the caller checked
        shape = (heights.shape[0], heights.shape[1])
        known = heights[part]
        if np.isnan(known).all():
            return {}
        mean, std = float(patch_mean(known)), self._std
        dsm = continued(_placed(filled(known), part, shape), part, shape)
        dsm = normalise_heights(dsm, mean, std)
        holes = continued(_placed(np.isnan(known).astype(np.float32), part, shape), part, shape)
        at = {name: position for position, name in enumerate(names)}
        answers, layers = [], {}
        for chosen in self._tuples:
            members = []
            for order in self._member_orders(chosen):
                x = dsm[None] if self.model.has_dsm else dsm[None][:0]
                if order:
                    assert images is not None  # the record asks for them
                    pixels = self.scale.images(images[[at[name] for name in order]], order, self._own_scales)
                    x = np.concatenate([x, continued(pixels, part, shape)])
                absent = np.zeros((self.model.n_images - len(order), *shape), np.float32)
                x = np.concatenate([x, absent, holes[None][: self.model.hole_channel]])
                members += self._forward(x)
            answers += members
            if len(self._tuples) > 1:
                layers[layer_name(chosen)] = self._answer(dsm, np.stack(members))[0]
        layers["dsm"], spread = self._answer(dsm, np.stack(answers))
        metres = {name: (layer * std + mean).astype(np.float32) for name, layer in layers.items()}
        if CONFIDENCE in self.layers():
            metres[CONFIDENCE] = (spread * std).astype(np.float32)
        return metres

    def _answer(
        self, initial: NDArray[np.float32], members: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return heights and deviation [rows, cols] of passes [n, outputs, rows, cols], all normalised."""
        heights = members[:, 0]
        if not self.model.uncertainty:
            return heights.mean(axis=0, dtype=np.float64), heights.std(axis=0, dtype=np.float64)
        factor, strength = float(self.facts.get("sigma_factor", 1.0)), self.config.inference.shrink
        if strength is None:
            strength = float(self.facts.get("shrink", 0.0))
        refined, deviation = combined(heights, standard_deviation(members[:, 1], factor))
        kept, deviation = shrunk(initial, refined, deviation, strength)
        return kept.astype(np.float64), deviation.astype(np.float64)

    def _member_orders(self, names: Names) -> list[Names]:
        return list(orders(names, self.config.inference))

    def _forward(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the network's answers [outputs, rows, cols], normalised, one per symmetry."""
        assert self._run is not None  # the caller checked
        turns = symmetries(self.config.inference)
        turned = [torch.from_numpy(np.ascontiguousarray(turn.apply(x), np.float32)) for turn in turns]
        size = CUDA_BATCH if self._run.device.type == "cuda" else 1  # one tile at a time stays in the CPU's cache
        found = [
            self._run(torch.stack(turned[first : first + size])).cpu().numpy() for first in range(0, len(turned), size)
        ]
        return [turn.undo(y) for turn, y in zip(turns, np.concatenate(found), strict=True)]

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of all tiles on a scene, with every pass that is averaged."""
        there = min(self.model.n_images, len(scene.orthos)) if self.model.optional_images else self.model.n_images
        chosen = image_tuples(scene, there)
        passes = len(chosen) * len(self._member_orders(chosen[0])) * len(symmetries(self.config.inference))
        return tiles_cost(self.plan(scene.require_grid()), self.net, SPEED, passes)

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
        if self.config.wild is not None and not scenes:
            from refbench_resdepth.training.fit_wild import fit_wild, wild_model

            model, old = self.config.model or wild_model(), self.net.state_dict() if self.is_trained else {}
            return fit_wild(model, self.config.wild, context, old=old, steps=steps, folder=folder, resume=resume)
        from refbench_resdepth.training.fit import fit_scenes  # Fabric is loaded for training only
        from refbench_resdepth.training.fit_official import fit_official

        if not scenes and self.config.official is None:
            raise ConfigError(
                "Training needs scenes with a reference, or an official training configuration (--config)."
            )
        if self.model.hole_channel or self.model.uncertainty:
            raise InputError(
                f"The weights {self.weights_used.name if self.weights_used else 'asked for'} know holes and their own "
                "standard deviation, which only the recipe resdepth-wild teaches (--recipe resdepth-wild); to train on "
                "scenes begin with others, such as --weights stereo, or afresh, without --weights."
            )
        net = first_network(self.net if self.is_trained else None, context.seed, lambda: UNet(self.model))
        scale = self.scale if self.is_trained else None
        if scenes:
            return fit_scenes(net, scale, self.config, scenes, context, steps=steps, folder=folder, resume=resume)
        return fit_official(net, self.config, context, steps=steps, folder=folder, resume=resume)

    def choose_weights(self, scene: Scene) -> list[str]:
        """Switch to weights for fewer images where the scene has too few; return what was done."""
        asked, there = self.model.n_images, len(scene.orthos)
        if there >= asked:
            return []
        if self.model.optional_images:
            return [f"The scene has {there} of the {asked} ortho images that the weights can use."]
        for found in for_fewer_inputs(self.weights_used, BUILT_IN, BY_IMAGES[min(there, 2) :: -1]):
            stored = read_model(found)
            fits = stored.model is not None and BY_IMAGES[min(stored.model.n_images, 2)] == found.name
            if fits and self.config.model is None:
                self._adopt(stored)
                return [
                    f"The scene has {there} of {asked} ortho images: fell back to ResDepth-{found.name}, "
                    f"inputs {self.model.input_channels}."
                ]
        raise UnsupportedError(
            f"These weights of ResDepth need {asked} ortho images, the scene has {there}, and there are no weights "
            "for fewer; give the images, or other weights with --weights."
        )


def _placed(values: NDArray[np.float32], part: tuple[slice, slice], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return ``values`` at ``part`` of a tile of ``shape``."""
    if values.shape == shape:
        return values
    out = np.zeros(shape, np.float32)
    out[part] = values
    return out
