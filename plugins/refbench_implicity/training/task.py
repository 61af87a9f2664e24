"""The trainings of ImpliCity as tasks of the shared loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.training.task import TrainTask
from refbench.weights.checkpoint import read_checkpoint
from refbench_implicity.network.network import occupancy
from refbench_implicity.official.checkpoints import read_training_checkpoint, write_training_checkpoint
from refbench_implicity.patches import Batch, collate, encode_patches
from refbench_implicity.training.loss import occupancy_loss
from refbench_implicity.training.schedule import build_optimizer, build_scheduler
from refbench_implicity.training.validation import mean_scores, query_scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor
    from torch.utils.data import Dataset

    from refbench.training.task import TrainState
    from refbench_implicity.config import TrainingConfig
    from refbench_implicity.network.network import ImpliCityNet, Planes
    from refbench_implicity.training.dataset import PatchItem


class PatchBatches(torch.utils.data.Dataset[Batch]):
    """Batch n holds items ``n * size`` to ``n * size + size - 1`` of a data set."""

    def __init__(self, items: Dataset[PatchItem], size: int = 1) -> None:
        self.items, self.size = items, size

    def __getitem__(self, number: int) -> Batch:
        """Return batch ``number``."""
        return collate([self.items[number * self.size + i] for i in range(self.size)])


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with all tensors on ``device``."""
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}


class OccupancyTask(TrainTask):
    """Occupancy from query points: the published loss, optimiser and files; patches from anywhere."""

    score = "iou"

    def __init__(
        self,
        model: ImpliCityNet,
        batches: Dataset[Batch],
        config: TrainingConfig,
        *,
        validation: Iterable[Batch] = (),
        threshold: float = 0.5,
        scores_while_training: bool = False,
    ) -> None:
        """Take ``batches`` for training and ``validation`` batches of one patch each."""
        self.model: ImpliCityNet = model
        self.batches, self.config = batches, config
        self.validation, self.threshold = validation, threshold
        self.scores_while_training = scores_while_training
        self.batches_per_step = config.optimize_every
        self.score = config.model_selection_metric
        self.score_is_loss = config.model_selection_mode == "minimize"
        self.optimizer = build_optimizer(model, config.learning_rate)
        self.scheduler = build_scheduler(self.optimizer, config.scheduler)

    def forward(self, batch: Batch) -> tuple[Planes, Tensor]:
        """Return the planes and the logits [B, M, 1 or 3] of a batch."""
        points, owner, query = batch["points"], batch["owner"], batch["query"]
        planes = encode_patches(self.model, points, owner, len(query), batch.get("image"))
        return planes, self.model.decode(planes, query)

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Return the weighted loss and, per land type, its fraction; with scores where they are wanted.

        A scalar, and plain numbers by name.
        """
        _, logits = self.forward(batch)
        loss, by_type = self._losses(batch, logits)
        scores = self._scores(batch, logits.detach()) if self.scores_while_training else {}
        return loss, {**by_type, **scores}

    def _losses(self, batch: Batch, logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        masks = {key.removeprefix("mask_"): value for key, value in batch.items() if key.startswith("mask_")}
        losses = occupancy_loss(logits, batch["labels"], masks, self.config.loss_weights)
        return losses.total, {f"loss/{kind}": value for kind, value in losses.by_type.items()}

    def _scores(self, batch: Batch, logits: Tensor) -> dict[str, float]:
        labels = occupancy(logits, self.threshold).reshape(batch["labels"].shape).cpu().numpy()
        reference = batch["labels"].cpu().numpy()
        masks = {k.removeprefix("mask_"): v.cpu().numpy() for k, v in batch.items() if k.startswith("mask_")}
        classes = max(2, logits.shape[-1])
        rows = [
            query_scores(reference[i], labels[i], {k: m[i] for k, m in masks.items()}, classes)
            for i in range(len(reference))
        ]
        return mean_scores(rows)

    @torch.no_grad()
    def evaluate_batch(self, batch: Batch) -> dict[str, float]:
        """Return loss and metrics of one batch, keyed as in the official logs."""
        _, logits = self.forward(batch)
        loss, by_type = self._losses(batch, logits)
        values = {key: float(value) for key, value in {"loss": loss, **by_type}.items()}
        return {"n_query_points": float(np.prod(batch["labels"].shape)), **values, **self._scores(batch, logits)}

    def validate(self, device: torch.device) -> dict[str, float]:
        """Return the unweighted mean over the validation batches."""
        return mean_scores(self.evaluate_batch(on_device(batch, device)) for batch in self.validation)

    def write(self, path: Path, state: TrainState) -> None:
        """Write an official checkpoint."""
        write_training_checkpoint(path, state, self.model, self.optimizer, self.scheduler, self.score_is_loss)

    def read_model(self, path: Path) -> None:
        """Restore the network alone."""
        self.model.load_state_dict(read_checkpoint(path)["model"])

    def read(self, path: Path) -> TrainState:
        """Restore from an official checkpoint."""
        return read_training_checkpoint(
            path, self.model, self.optimizer, self.scheduler, resume_scheduler=self.config.resume_scheduler
        )
