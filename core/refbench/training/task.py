"""What a method brings to the shared loop: a model, its batches, its loss, its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch.utils.data import Dataset

    Values = Mapping[str, float | torch.Tensor]
    """What is logged of a step; tensors are read when it is, without gradient."""

M = TypeVar("M", bound="torch.nn.Module")


@dataclass(slots=True)
class TrainState:
    """How far a training is. ``best`` is the best validation score so far, None before the first."""

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    """One row per validation: step and metrics."""


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Names of the checkpoints of a training, relative to its folder."""

    folder: str = "check_points"
    last: str = "model.pt"
    best: str = "model_best.pt"

    def last_in(self, run: Path) -> Path:
        """Return the checkpoint that a training is resumed from."""
        return run / self.folder / self.last

    def best_in(self, run: Path) -> Path:
        """Return the checkpoint with the best validation score."""
        return run / self.folder / self.best


class TrainTask(ABC):
    """A training that the loop can run. Plugins subclass it.

    ``batches[n]`` is batch number n, a pure function of n and the seed: resuming and any number of workers or devices
    then see the same data. A step sums the gradients of ``batches_per_step`` batches.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
    batches: Dataset[Any]
    batches_per_step: int = 1
    score: str = ""
    """Key of the validation metric that picks the best model; empty picks none."""
    score_is_loss: bool = False
    """Whether a smaller score is better."""
    files: CheckpointFiles = CheckpointFiles()
    log_names: Mapping[str, str] = {}
    """Names of logged values where they are not the loop's own (``loss``, ``lr``, ``validation/<metric>``)."""

    adversary_optimizer: torch.optim.Optimizer | None = None
    """Of a second network that is trained against the first; its parameters belong to ``model``, too."""

    def adversary_loss(self, batch: Any) -> tuple[torch.Tensor, Values]:  # noqa: ANN401  # the task's type
        """Return the adversary's loss of a batch, asked for before ``loss``; its optimiser steps in between.

        A scalar with gradients, and plain numbers by name.
        """
        raise NotImplementedError(f"{type(self).__name__} has an adversary_optimizer, but no adversary_loss.")

    @abstractmethod
    def loss(self, batch: Any) -> tuple[torch.Tensor, Values]:  # noqa: ANN401  # the task's own type
        """Return the scalar loss of a batch on the model's device, and values to log."""

    def validate(self, device: torch.device) -> Mapping[str, float]:
        """Return validation metrics; called without gradients, the model in evaluation mode."""
        del device
        return {}

    def images(self, device: torch.device) -> Mapping[str, NDArray[np.float32]]:
        """Return sample images [rows, cols] in [0, 1] by name, for TensorBoard; asked for after a validation."""
        del device
        return {}

    def after_step(self, step: int) -> None:
        """Do what belongs to the end of optimiser step number ``step`` (a schedule of epochs); every rank calls it."""
        del step

    def after_validation(self, scores: Mapping[str, float]) -> None:
        """Do what a validation decides (a schedule that waits for it); called after the best model was written."""
        del scores

    def backup_name(self, state: TrainState) -> str:
        """Return the name of a checkpoint that is kept for good."""
        return f"model_{state.step}.pt"

    @abstractmethod
    def write(self, path: Path, state: TrainState) -> None:
        """Write a checkpoint file, atomically."""

    @abstractmethod
    def read(self, path: Path) -> TrainState:
        """Restore model, optimiser and scheduler from a checkpoint file and return how far it was."""

    def read_model(self, path: Path) -> None:
        """Restore the model alone from a checkpoint file; by default ``read`` restores the rest, too."""
        self.read(path)

    def is_better(self, score: float, best: float | None) -> bool:
        """Return whether ``score`` beats ``best``; NaN never does."""
        if score != score:
            return False
        return best is None or (score < best if self.score_is_loss else score > best)


def initialised(seed: int, build: Callable[[], M]) -> M:
    """Return ``build()`` with torch's generator at ``seed``, the generator's state left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
