"""Corrects a DSM by a small network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from acme_dsm.network import Network
from acme_dsm.settings import AcmeNetConfig, NetworkConfig
from refbench import Context, Scene, TileBatch, TileMethod
from refbench.training import Trained, filled, first_network, initialised, read_stored

NAME = "acme-net"


class AcmeNet(TileMethod):
    """Adds a correction that a small network sees in the shape of the DSM."""

    def __init__(self, config: AcmeNetConfig, weights: Path | None) -> None:
        """Build the network; ``weights`` is a weights folder of this method, None begins with no correction."""
        self.config, self.weights_used, shape = config, weights, config.network
        self.network: Network | None = None
        if weights is not None:
            stored = read_stored(weights, NAME, "network", NetworkConfig)
            shape = stored.model or shape
            self.network = filled(lambda: Network(shape), stored)

    def refine_tiles(self, batch: TileBatch, context: Context) -> NDArray[np.float32]:
        """Return heights [N, rows, cols] in metres above the batch's height_offset, NaN where unknown."""
        assert batch.dsm is not None  # the record asks for it
        network = self.network or initialised(context.seed, lambda: Network(self.config.network)).eval()
        with torch.inference_mode():
            tiles = torch.from_numpy(np.array(batch.dsm)).to(context.device)
            heights: NDArray[np.float32] = network.to(context.device)(tiles).cpu().numpy()
        return heights

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Trained:
        """Train on scenes with a reference and return what was learnt; the method stays as it is."""
        from acme_dsm.training import fit_scenes  # Lightning Fabric is loaded for training only

        network = first_network(self.network, context.seed, lambda: Network(self.config.network))
        return fit_scenes(NAME, network, self.config, scenes, context, steps=steps, folder=folder, resume=resume)
