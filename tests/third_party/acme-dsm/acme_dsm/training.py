"""Training on crops of scenes that have a reference DSM."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from acme_dsm.network import Network
from acme_dsm.settings import AcmeNetConfig
from refbench import Context, InputError, Scene
from refbench.training import CheckpointTask, Trained, TrainSettings, take_best, train

Pair = tuple[torch.Tensor, torch.Tensor]


class Crops(Dataset[Pair]):
    """Batch number n is a pure function of n and the seed: crops [batch, side, side] of initial DSM and reference."""

    def __init__(self, scenes: Sequence[Scene], config: AcmeNetConfig, context: Context) -> None:
        """Read the scenes; heights are kept relative to the median of each initial DSM."""
        self.config, self.context, self.rasters = config, context, [_pair(scene, config.side) for scene in scenes]

    def __getitem__(self, number: int) -> Pair:
        """Draw the places of a batch and cut it."""
        rng, side, cut = self.context.rng("batch", number), self.config.side, []
        for _ in range(self.config.batch):
            raster = self.rasters[rng.integers(len(self.rasters))]
            row, col = (int(rng.integers(length - side + 1)) for length in raster.shape[1:])
            cut.append(raster[:, row : row + side, col : col + side])
        initial, reference = np.stack(cut, axis=1)
        return torch.from_numpy(initial), torch.from_numpy(reference)


class Task(CheckpointTask):
    """Mean absolute error in metres where both are known."""

    def __init__(self, network: Network, batches: Crops, rate: float) -> None:
        """Take the network with its batches; the base class writes and reads checkpoints."""
        self.model, self.batches = network, batches
        self.optimizer = torch.optim.Adam(network.parameters(), rate)

    def loss(self, batch: Pair) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch."""
        initial, reference = batch
        known = torch.isfinite(initial) & torch.isfinite(reference)
        return (self.model(initial) - reference)[known].abs().mean(), {}


def fit_scenes(
    name: str,
    network: Network,
    config: AcmeNetConfig,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None,
    folder: Path | None,
    resume: bool,
) -> Trained:
    """Train a network and return it with its architecture and where it comes from."""
    if not scenes:
        raise InputError("Training needs scenes with a reference.")
    task = Task(network, Crops(scenes, config, context), config.rate)
    settings = TrainSettings(steps or config.steps, folder, resume=resume, device=context.device, tensorboard=False)
    state = train(task, settings, context)
    take_best(task, settings)
    provenance = {"data": [scene.id for scene in scenes], "steps": state.step, "seed": context.seed}
    card = f"# {name}\n\nTrained with refbench.\n"
    return Trained(name, network.state_dict(), {"network": asdict(config.network)}, provenance, card)


def _pair(scene: Scene, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return initial DSM and reference, float32 [2, rows, cols], relative to the median of the first."""
    if scene.dsm is None or scene.reference is None or scene.reference.dsm is None:
        raise InputError(f"Scene {scene.id} cannot train: it needs an initial DSM and a reference DSM.")
    initial, reference = scene.dsm.read(), scene.reference.dsm.read()
    if wrong := "; ".join(initial.grid.differences(reference.grid)):
        raise InputError(f"The reference of scene {scene.id} has another grid than its DSM: {wrong}.")
    if min(initial.heights.shape) < side:
        raise InputError(f"Scene {scene.id} is smaller than a crop of {side} px; set side lower.")
    return np.stack([initial.heights, reference.heights]) - np.nanmedian(initial.heights)
