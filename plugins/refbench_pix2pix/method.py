"""The pix2pix enhancer as a method of refbench: tiles of a DSM and an NDVI in, heights out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import TileMethod
from refbench.contracts.errors import ConfigError, SkippedError, UnsupportedError, WeightsError
from refbench.training.task import initialised
from refbench.weights.weights_folder import is_weights_folder
from refbench_pix2pix.config import GeneratorConfig, Pix2PixConfig, ValueConfig
from refbench_pix2pix.inputs import network_tile
from refbench_pix2pix.network.fused import FusedGenerator
from refbench_pix2pix.network.network import Generator
from refbench_pix2pix.tiling import plan_tiles
from refbench_pix2pix.training.schedule import initialise
from refbench_pix2pix.values import to_metres
from refbench_pix2pix.weights import read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene, TileBatch, TilePlan
    from refbench_pix2pix.weights import StoredModel

BUILT_IN = Path(__file__).parent / "weights"
WITHOUT_NDVI = "dsm"
SAME_GSD = 0.02
"""Relative difference up to which two pixel sizes are the same."""


class Pix2Pix(TileMethod):
    """A generator that was trained against a discriminator to make a stereo DSM look like a LiDAR one.

    Scenes without NDVI fall back to weights for the DSM alone, where there are any.
    """

    def __init__(self, config: Pix2PixConfig | None = None, weights: Path | None = None) -> None:
        """Open the weights; without any, a fresh network of the configured shape is there to be trained.

        Raises
        ------
        WeightsError
            The weights are damaged, or of another shape than the configuration asks for.
        """
        self.config = config or Pix2PixConfig()
        self.is_trained = weights is not None
        self.weights: Path | None = None
        self.facts: dict[str, Any] = {}
        self.values = self.config.values or ValueConfig(span="tile")
        self._run: FusedGenerator | None = None
        if weights is None:
            self.net = Generator(self.config.generator or GeneratorConfig()).eval()
        else:
            self._adopt(read_model(Path(weights)))

    def _adopt(self, stored: StoredModel) -> None:
        asked, found = self.config.generator, stored.net.config
        if asked is not None and (asked.input_nc, asked.output_nc, asked.ngf) != (
            found.input_nc,
            found.output_nc,
            found.ngf,
        ):
            raise WeightsError(f"{stored.path} is a generator {found}, the configuration asks for {asked}.")
        self.net, self.weights, self.facts = stored.net, stored.path, dict(stored.facts)
        self.values = self.config.values or stored.values
        self._run = None

    @property
    def takes_ndvi(self) -> bool:
        """Whether the network has a channel for the NDVI."""
        return self.net.config.input_nc > 1

    def prepare(self, scene: Scene, context: Context) -> dict[str, Any]:
        """Choose weights that the scene can feed and say what was decided."""
        if not self.is_trained:
            raise SkippedError(
                "pix2pix has no weights; import some with refbench import-weights --method pix2pix, or train it."
            )
        remarks = self._fall_back(scene)
        if self.net.config.input_nc > 2:
            raise UnsupportedError(f"The generator takes {self.net.config.input_nc} channels; DSM and NDVI are two.")
        gsd, trained = scene.require_grid().gsd, self.facts.get("gsd")
        if trained is not None and abs(gsd / float(trained) - 1) > SAME_GSD:
            remarks.append(f"The weights were trained on pixels of {trained:g} m, the DSM has {gsd:g} m.")
        config = self.config.inference
        self._run = FusedGenerator(self.net, config.precision, torch.device(context.device))
        return {
            "inputs": ["dsm", "ndvi"][: self.net.config.input_nc],
            "weights": None if self.weights is None else str(self.weights),
            "path": self.values.path,
            "tile_size": config.tile_size,
            "overlap": self._overlap,
            "precision": config.precision,
            "remarks": remarks,
        }

    @property
    def _overlap(self) -> float:
        return 0.0 if self.values.path == "8bit" else self.config.inference.overlap

    def plan(self, grid: Grid) -> TilePlan:
        """Return the official grid of separate tiles in the 8-bit path, else overlapping tiles that blend."""
        return plan_tiles(grid, self.config.inference.tile_size, self._overlap)

    def refine_tiles(self, batch: TileBatch, context: Context) -> NDArray[np.float32]:
        """Return heights float32 [N, rows, cols] above the offset; NaN in tiles without any height."""
        if batch.dsm is None:
            raise UnsupportedError("pix2pix needs an initial DSM.")
        if self._run is None:
            raise SkippedError("pix2pix was not prepared for a scene.")
        out = np.full(batch.dsm.shape, np.nan, np.float32)
        tiles = {}
        for index in range(len(batch)):
            heights = batch.dsm[index].astype(np.float64) + batch.height_offset[index]
            ndvi = batch.ndvi[index] if self.takes_ndvi and batch.ndvi is not None else None
            tile = network_tile(heights, ndvi, batch.windows[index], batch.grid, self.values)
            if tile is not None:
                tiles[index] = tile
        places, size = list(tiles), self.config.inference.batch_tiles
        for first in range(0, len(places), size):
            context.check_cancelled()
            part = places[first : first + size]
            y = self._run(torch.from_numpy(np.stack([tiles[index][0] for index in part]))).cpu().numpy()[:, 0]
            for index, values in zip(part, y, strict=True):
                metres = to_metres(values, tiles[index][1], self.values)
                out[index] = metres - batch.height_offset[index]
        return out

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> dict[str, Any]:
        """Train the network in place; see ``fit_scenes`` for the options and errors."""
        from refbench_pix2pix.training.fit import fit_scenes  # Lightning is loaded for training only

        if not scenes:
            raise ConfigError("Training needs scenes with an initial DSM and a reference; name their folders.")
        if not self.is_trained:
            training, shape = self.config.training, self.net.config
            self.net = initialised(
                context.seed, lambda: initialise(Generator(shape), training.init_type, training.init_gain)
            )
        return fit_scenes(self, scenes, context, steps=steps, folder=folder, resume=resume)

    def save(
        self, folder: Path, *, provenance: Mapping[str, Any] | None = None, card: str = "", half: bool = False
    ) -> None:
        """Write a weights folder; ``half`` stores float16, ``card`` is the model card."""
        text = card or f"# pix2pix DSM enhancer, {self.net.config.input_nc} channel(s)\n\nTrained with refbench.\n"
        write_model(folder, self.net, self.values, self.facts, provenance=provenance or {}, card=text, half=half)

    def _fall_back(self, scene: Scene) -> list[str]:
        """Switch to weights for the DSM alone where the scene has no NDVI; return what was done."""
        if scene.ndvi is not None or not self.takes_ndvi:
            return []
        for parent in [*([self.weights.parent] if self.weights is not None else []), BUILT_IN]:
            if is_weights_folder(found := parent / WITHOUT_NDVI) and self.config.generator is None:
                self._adopt(read_model(found))
                return ["The scene has no NDVI: fell back to the weights for the DSM alone."]
        raise UnsupportedError(
            "These weights of pix2pix need an NDVI, the scene has none, and there are no weights for the DSM alone; "
            "give --ndvi, an ortho with bands named red and nir, or other weights with --weights."
        )
