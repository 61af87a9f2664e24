"""Optimiser and learning-rate schedule of the published training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import CyclicLR, MultiStepLR

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

    from refbench_implicity.config import SchedulerConfig


def build_optimizer(model: torch.nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Return Adam over the parameters in ``named_parameters`` order, shared ones once: checkpoints count on it."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate)


def build_scheduler(optimizer: torch.optim.Optimizer, config: SchedulerConfig) -> LRScheduler | None:
    """Return the schedule, stepped once per optimiser step; None keeps the learning rate.

    ``CyclicLR`` sets the learning rate to ``base_lr`` at once and leaves the momentum alone.
    """
    if config.type is None:
        return None
    if config.type == "MultiStepLR":
        return MultiStepLR(optimizer, milestones=list(config.milestones), gamma=config.gamma)
    return CyclicLR(
        optimizer,
        base_lr=config.base_lr,
        max_lr=config.max_lr,
        step_size_up=config.step_size_up,
        step_size_down=config.step_size_down,
        mode=config.mode,
        gamma=config.gamma,
        cycle_momentum=False,
    )
