"""The training of a network that takes 0, 1 or 2 images and knows how sure it is, as a task of the shared loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import WeightsError
from refbench.files.atomic import atomic_file
from refbench.training.task import CheckpointFiles, TrainState, TrainTask
from refbench.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from refbench_resdepth.config import WildConfig
    from refbench_resdepth.network.network import UNet
    from refbench_resdepth.training.wild_samples import WildBatches

FILES = CheckpointFiles("checkpoints", "last.pt", "best.pt")
MAE = "MAE"
SCALE_FLOOR = math.log(0.01)
SCALE_CEILING = math.log(20.0)
"""Bounds of the logarithm of the Laplace scale, normalised heights."""
SCALE_PART = 0.3
"""Weight of the likelihood, which teaches the scale only, beside the absolute error."""
WARM_STEPS, COOLING, COOLEST = 100, 0.35, 0.03
"""The rate rises, stays, and falls linearly to ``COOLEST`` over the last ``COOLING`` of the steps."""


def rate_fraction(step: int, steps: int) -> float:
    """Return the fraction of the highest learning rate at a step."""
    left = (steps - step) / max(1.0, COOLING * steps)
    return min(1.0, (step + 1) / WARM_STEPS) * max(COOLEST, min(1.0, left))


def wild_loss(out: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss, and the mean absolute error, in normalised heights.

    Parameters
    ----------
    out
        Heights and logarithms of their Laplace scale, [B, 2, H, W].
    y, weight
        Reference heights and what each pixel counts, [B, 1, H, W].

    The scale b is fitted by the likelihood |e| / b + log b of an error that is held fixed: a likelihood of both would
    let hard pixels go by calling them uncertain.
    """
    error = (out[:, :1].float() - y).abs()
    log_scale = out[:, 1:].float().clamp(SCALE_FLOOR, SCALE_CEILING)
    likelihood = error.detach() * torch.exp(-log_scale) + log_scale
    total = weight.sum().clamp(min=1)
    mean = (weight * error).sum() / total
    return mean + SCALE_PART * (weight * likelihood).sum() / total, mean.detach()


class WildTask(TrainTask):
    """L1 with a Laplace scale; the running average of the weights is what is validated and kept."""

    score = MAE
    score_is_loss = True
    files = FILES

    def __init__(self, model: UNet, batches: WildBatches, config: WildConfig, held: Sequence[Any], steps: int) -> None:
        """Take batches to train on and ``held`` ones that validate."""
        self.model: UNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batches: WildBatches = batches
        self.config, self.held, self.steps = config, held, steps
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate_fraction(step, steps))
        self.scheduler = self._schedule
        self.average = {key: value.detach().clone() for key, value in model.state_dict().items()}

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Any]]:
        """Return the loss of a batch. A scalar of normalised heights, and plain numbers by name."""
        out = self.model(batch["x"].contiguous(memory_format=torch.channels_last))
        loss, mean = wild_loss(out, batch["y"], batch["weight"])
        return loss, {MAE: mean}

    def after_step(self, step: int) -> None:
        """Move the running average towards the weights; it moves faster at first."""
        decay = min(self.config.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                held = self.average[key]
                if held.is_floating_point():
                    held.lerp_(value, 1 - decay)
                else:
                    held.copy_(value)

    @torch.no_grad()
    def validate(self, device: torch.device) -> dict[str, float]:
        """Return errors of the averaged weights in pixels of height: with both images, and with none."""
        trained = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        try:
            return {
                MAE: self._error(device, images=True),
                f"{MAE}_0": self._error(device, images=False),
                f"{MAE}_input": self._input_error(),
            }
        finally:
            self.model.load_state_dict(trained)

    def _error(self, device: torch.device, *, images: bool) -> float:
        total = count = 0.0
        for batch in self.held:
            x = batch["x"].clone()
            if not images:
                x[:, 1:3] = 0
            out = self.model(x.to(device, memory_format=torch.channels_last)).float().cpu()
            weight = (batch["weight"] > 0).float() * (batch["x"][:, 3:] == 0)
            total += float(((out[:, :1] - batch["y"]).abs() * weight).sum())
            count += float(weight.sum())
        return total / max(count, 1.0)

    def _input_error(self) -> float:
        total = count = 0.0
        for batch in self.held:
            weight = (batch["weight"] > 0).float() * (batch["x"][:, 3:] == 0)
            total += float(((batch["x"][:, :1] - batch["y"]).abs() * weight).sum())
            count += float(weight.sum())
        return total / max(count, 1.0)

    def write(self, path: Path, state: TrainState) -> None:
        """Write weights, their average, the optimiser and how far the training is."""
        content = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": state.step,
            "seconds": state.seconds,
            "best": state.best,
        }
        with atomic_file(path) as file:
            torch.save(content, file)

    def read(self, path: Path) -> TrainState:
        """Restore a checkpoint; the rate follows from the step, so that a resumed training may be given more steps."""
        content = read_checkpoint(path)
        try:
            self.model.load_state_dict(content["model"])
            self.average = content["average"]
            self.optimizer.load_state_dict(content["optimizer"])
            step = int(content["step"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{path} is no checkpoint of this training: {str(error)[:200]}.") from None
        self._schedule.last_epoch = step
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate_fraction(step, self.steps)
        return TrainState(step, float(content["seconds"]), content["best"])
