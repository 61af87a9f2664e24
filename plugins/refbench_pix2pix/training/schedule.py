"""Learning rates by epoch, and the initialisation of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from refbench_pix2pix.config import InitType, TrainingConfig

STEP_FACTOR = 0.1

N = TypeVar("N", bound=nn.Module)


def build_schedule(optimizer: Optimizer, config: TrainingConfig) -> Any:  # noqa: ANN401  # two base classes
    """Return the schedule of a policy; it steps once after every epoch (docs/methods/pix2pix.md)."""
    schedules = torch.optim.lr_scheduler
    if config.lr_policy == "linear":
        return schedules.LambdaLR(optimizer, LinearFraction(config.epoch_count, config.n_epochs, config.n_epochs_decay))
    if config.lr_policy == "step":
        return schedules.StepLR(optimizer, config.lr_decay_iters, STEP_FACTOR)
    if config.lr_policy == "cosine":
        return schedules.CosineAnnealingLR(optimizer, config.n_epochs, 0.0)
    return schedules.ReduceLROnPlateau(optimizer, factor=0.2, threshold=0.01, patience=5)


class LinearFraction:
    """Fraction of the learning rate in epoch e after the start: 1, then a linear fall that never reaches 0."""

    def __init__(self, epoch_count: int, n_epochs: int, n_epochs_decay: int) -> None:
        self.epoch_count, self.n_epochs, self.n_epochs_decay = epoch_count, n_epochs, n_epochs_decay

    def __call__(self, epoch: int) -> float:
        """Return the fraction; 0 after the last epoch, where the published formula would turn negative."""
        return max(0.0, 1.0 - max(0, epoch + self.epoch_count - self.n_epochs) / float(self.n_epochs_decay + 1))


def initialise(net: N, kind: InitType, gain: float) -> N:
    """Draw the weights of convolutions and normalisations as published; biases are 0. Return ``net``."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            _fill(module.weight, kind, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
    return net


def _fill(weight: torch.Tensor, kind: InitType, gain: float) -> None:
    if kind == "normal":
        nn.init.normal_(weight, 0.0, gain)
    elif kind == "xavier":
        nn.init.xavier_normal_(weight, gain)
    elif kind == "kaiming":
        nn.init.kaiming_normal_(weight, a=0, mode="fan_in")
    else:
        nn.init.orthogonal_(weight, gain)
