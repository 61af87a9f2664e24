"""The pix2pix enhancer as a method of refbench: tiles of a DSM and an NDVI in, heights out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import TileMethod
from refbench.contracts.errors import ConfigError, SkippedError, UnsupportedError, WeightsError
from refbench.training.learnt import first_network, for_fewer_inputs, tiles_cost, without_weights
from refbench_pix2pix.config import GeneratorConfig, Pix2PixConfig, ValueConfig
from refbench_pix2pix.inputs import network_tile
from refbench_pix2pix.network.fused import FusedGenerator
from refbench_pix2pix.network.network import Generator
from refbench_pix2pix.tiling import plan_tiles
from refbench_pix2pix.training.schedule import initialise
from refbench_pix2pix.values import to_metres
from refbench_pix2pix.weights import FACTS, filled_network, read_model, stored_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene, TileBatch, TilePlan
    from refbench.contracts.estimate import Estimate
    from refbench.training import Trained
    from refbench_pix2pix.weights import Stored

BUILT_IN = Path(__file__).parent / "weights"
WITHOUT_NDVI = "dsm"
SPEED = 0.7
"""CPU seconds for a megapixel of tiles and a million parameters."""


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
        self.weights_used: Path | None = None
        self.facts: dict[str, Any] = {}
        self.values = self.config.values or ValueConfig(span="tile")
        self._run: FusedGenerator | None = None
        if weights is None:
            self.net = Generator(self.config.generator or GeneratorConfig()).eval()
        else:
            self._adopt(read_model(Path(weights)))

    def _adopt(self, stored: Stored) -> None:
        """Build the network and take the constants that belong to its weights."""
        asked, found = self.config.generator, stored.model
        if (
            asked is not None
            and found is not None
            and (asked.input_nc, asked.output_nc, asked.ngf)
            != (
                found.input_nc,
                found.output_nc,
                found.ngf,
            )
        ):
            raise WeightsError(f"{stored.path} is a generator {found}, the configuration asks for {asked}.")
        self.net, self.weights_used, self.facts = filled_network(stored), stored.path, stored.facts(*FACTS)
        self.values = self.config.values or stored_values(stored)
        self._run = None

    @property
    def takes_ndvi(self) -> bool:
        """Whether the network has a channel for the NDVI."""
        return self.net.config.input_nc > 1

    def prepare(self, scene: Scene, context: Context) -> dict[str, Any]:
        """Choose weights that the scene can feed and say what was decided."""
        if not self.is_trained:
            raise without_weights("pix2pix", "pix2pix")
        remarks = self.choose_weights(scene)
        if self.net.config.input_nc > 2:
            raise UnsupportedError(f"The generator takes {self.net.config.input_nc} channels; DSM and NDVI are two.")
        config = self.config.inference
        self._run = FusedGenerator(self.net, config.precision, torch.device(context.device))
        return {
            "inputs": ["dsm", "ndvi"][: self.net.config.input_nc],
            "weights": None if self.weights_used is None else str(self.weights_used),
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

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of all tiles on a scene."""
        return tiles_cost(self.plan(scene.require_grid()), self.net, SPEED)

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Trained:
        """Train from these weights, or afresh; see ``fit_scenes`` for the options and errors."""
        from refbench_pix2pix.training.fit import Start, fit_scenes  # Fabric is loaded for training only

        if not scenes:
            raise ConfigError("Training needs scenes with an initial DSM and a reference; name their folders.")
        training, shape = self.config.training, self.net.config
        net = first_network(
            self.net if self.is_trained else None,
            context.seed,
            lambda: initialise(Generator(shape), training.init_type, training.init_gain),
        )
        start = Start(net, self.values, self.weights_used)
        return fit_scenes(start, self.config, scenes, context, steps=steps, folder=folder, resume=resume)

    def choose_weights(self, scene: Scene) -> list[str]:
        """Switch to weights for the DSM alone where the scene has no NDVI; return what was done."""
        if scene.ndvi is not None or not self.takes_ndvi:
            return []
        found = next(for_fewer_inputs(self.weights_used, BUILT_IN, [WITHOUT_NDVI]), None)
        if found is not None and self.config.generator is None:
            self._adopt(read_model(found))
            return ["The scene has no NDVI: fell back to the weights for the DSM alone."]
        raise UnsupportedError(
            "These weights of pix2pix need an NDVI, the scene has none, and there are no weights for the DSM alone; "
            "give --ndvi, an ortho with bands named red and nir, or other weights with --weights."
        )
