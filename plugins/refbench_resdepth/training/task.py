"""The training of ResDepth as a task of the shared loop. Epochs are counted in steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import ConfigError
from refbench.training.schedules import CosineFraction
from refbench.training.task import CheckpointFiles, TrainState, TrainTask
from refbench.weights.checkpoint import read_checkpoint
from refbench_resdepth.official.checkpoints import restore_checkpoint, write_checkpoint
from refbench_resdepth.training.loss import metric_l1
from refbench_resdepth.training.samples import collate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from refbench_resdepth.config import OptimizerConfig, SchedulerConfig, TrainingConfig
    from refbench_resdepth.network.network import UNet
    from refbench_resdepth.training.samples import EpochBatches, GridSamples

FILES = CheckpointFiles("checkpoints", "Model_last.pth", "Model_best.pth")
REPORT_STEPS = 20
MAE = "MAE_metric"


class ResDepthTask(TrainTask):
    """Heights from patches: L1 in metres, validated on whole regions, checkpoints in the official format."""

    score = MAE
    score_is_loss = True
    files = FILES

    def __init__(
        self,
        model: UNet,
        batches: EpochBatches,
        config: TrainingConfig,
        validation: GridSamples,
        *,
        cosine_steps: int | None = None,
    ) -> None:
        """Take the batches and the validation samples; ``cosine_steps`` replaces the schedule by warm-up and cosine."""
        self.model: UNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batches: EpochBatches = batches
        self.config, self.validation = config, validation
        self.optimizer = build_optimizer(model, config.optimizer)
        self.schedule: Any = None
        self.scheduler = None
        if cosine_steps is not None:
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, CosineFraction(cosine_steps))
        else:
            self.schedule = build_schedule(self.optimizer, config.scheduler)
        self.log_names = {
            "loss": f"train/{MAE}",
            "lr": "train/learning_rate",
            f"validation/{MAE}": f"val/{MAE}",
            "validation/learning_rate": "val/learning_rate",
        }
        self._recent: list[Tensor] = []
        self._losses = (math.nan, math.nan)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch in metres. A scalar, and plain numbers by name."""
        x = batch["x"].contiguous(memory_format=torch.channels_last)
        loss = metric_l1(self.model(x), batch["y"], batch["mask"], batch["mean"], batch["std"])
        self._recent = [*self._recent[-(REPORT_STEPS - 1) :], loss.detach()]
        return loss, {}

    def validate(self, device: torch.device) -> dict[str, float]:
        """Return the plain mean of the losses of the validation batches, metres."""
        size = self.config.batch_size
        losses = []
        for first in range(0, len(self.validation), size):
            batch = collate([self.validation[i] for i in range(first, min(first + size, len(self.validation)))])
            if not bool(batch["mask"].any()):
                continue
            batch = {key: value.to(device) for key, value in batch.items()}
            x = batch["x"].contiguous(memory_format=torch.channels_last)
            losses.append(float(metric_l1(self.model(x), batch["y"], batch["mask"], batch["mean"], batch["std"])))
        if not losses:
            return {}
        score = math.fsum(losses) / len(losses)
        self._losses = (self._train_loss(), score)
        return {MAE: score, "learning_rate": float(self.optimizer.param_groups[0]["lr"])}

    def after_validation(self, scores: Mapping[str, float]) -> None:
        """Let the schedule of the epochs step."""
        if self.schedule is None:
            return
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(scores[MAE])
        else:
            self.schedule.step()

    def backup_name(self, state: TrainState) -> str:
        """Return the official name of a checkpoint that is kept."""
        return f"Model_after_{self.epochs(state.step)}_epochs.pth"

    def epochs(self, step: int) -> int:
        """Return how many epochs are complete after ``step`` steps."""
        return step // self.batches.per_epoch

    def write(self, path: Path, state: TrainState) -> None:
        """Write an official checkpoint."""
        validated = math.nan if state.best is None else state.best
        losses = (self._train_loss(), self._losses[1] if math.isfinite(self._losses[1]) else validated)
        epoch = max(0, self.epochs(state.step) - 1)
        schedule = self.schedule if self.schedule is not None else self.scheduler
        write_checkpoint(path, self.model, self.optimizer, schedule, epoch=epoch, step=state.step, losses=losses)

    def read_model(self, path: Path) -> None:
        """Restore the network alone."""
        self.model.load_state_dict(read_checkpoint(path)["model_state_dict"])

    def read(self, path: Path) -> TrainState:
        """Restore from an official checkpoint.

        The best score so far is that of the best checkpoint beside it, where there is one (the official code takes
        the validation loss of the file itself and may then replace a better model by a worse one).
        """
        schedule = self.schedule if self.schedule is not None else self.scheduler
        held = restore_checkpoint(path, self.model, self.optimizer, schedule)
        step = held["step"]
        if step is None:
            step = (held["epoch"] + 1) * self.batches.per_epoch
        best = best_beside(path, held["loss_val"])
        self._losses = (held["loss_train"], math.nan if best is None else best)
        return TrainState(step=int(step), best=best)

    def _train_loss(self) -> float:
        return float(torch.stack(self._recent).mean()) if self._recent else self._losses[0]


def best_beside(path: Path, own: float | None) -> float | None:
    """Return the lower of a checkpoint's own validation loss and that of the best checkpoint beside it."""
    best = path.with_name(FILES.best)
    if not best.is_file() or best == path:
        return own
    loss = float(read_checkpoint(best).get("loss_val", math.nan))
    known = [value for value in (own, loss) if value is not None and math.isfinite(value)]
    return min(known, default=None)


def build_optimizer(model: UNet, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return Adam or SGD without momentum."""
    kind: type[torch.optim.Adam | torch.optim.SGD] = torch.optim.Adam if config.name == "Adam" else torch.optim.SGD
    return kind(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def build_schedule(optimizer: torch.optim.Optimizer, config: SchedulerConfig) -> Any:  # noqa: ANN401  # two base classes
    """Return the configured schedule, None where it is off.

    Raises
    ------
    ConfigError
        ``settings`` hold an argument that the schedule does not take, or lack one.
    """
    if not config.enabled:
        return None
    kind = getattr(torch.optim.lr_scheduler, config.name)
    settings = {key: value for key, value in config.settings.items() if key != "verbose"}  # gone from torch
    try:
        return kind(optimizer, **settings)
    except TypeError as error:
        raise ConfigError(f"scheduler.settings of {config.name}: {error}.") from error
