"""Training checkpoints in the official file format, readable by the official code and by ``import-weights``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import WeightsError
from refbench.training.task import TrainState
from refbench.weights.checkpoint import Stub, read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


def write_training_checkpoint(
    path: Path,
    state: TrainState,
    model: torch.nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    score_is_loss: bool = False,
) -> None:
    """Write ``path`` beside its place and rename it.

    The best score so far is a 0-dim float32 tensor, or the worst float where nothing was validated yet.
    """
    worst = math.inf if score_is_loss else -math.inf
    content = {
        "n_iter": state.step,
        "loss_val_best": worst if state.best is None else torch.tensor(state.best, dtype=torch.float32),
        "training_time": float(state.seconds),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": {} if scheduler is None else scheduler.state_dict(),
    }
    beside = path.with_name(f".{path.name}.new")
    try:
        torch.save(content, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_training_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    *,
    resume_scheduler: bool = True,
) -> TrainState:
    """Restore model, optimiser and schedule from an official checkpoint, also an old one that pickles objects.

    A restored ``CyclicLR`` takes its rates and steps from the file. Without ``resume_scheduler`` the schedule starts
    anew, as configured.

    Raises
    ------
    WeightsError
        The file is of another architecture, optimiser or schedule, or wants to run code.
    """
    content = read_checkpoint(path)
    if "model" not in content:
        raise WeightsError(f"{path} holds no 'model', so it is no training checkpoint.")
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise WeightsError(f"{path} is of another architecture: {' '.join(str(error).split())[:300]}.") from None
    fresh_rates = [group["lr"] for group in optimizer.param_groups]
    if isinstance(content.get("optimizer"), dict):
        try:
            optimizer.load_state_dict(content["optimizer"])
        except (ValueError, KeyError) as error:
            raise WeightsError(f"{path}: the optimiser's state does not fit this network ({error}).") from None
    if scheduler is not None and resume_scheduler and content.get("scheduler"):
        _restore_scheduler(path, scheduler, content["scheduler"])
    else:
        for group, rate in zip(optimizer.param_groups, fresh_rates, strict=True):
            group["lr"] = rate
    best = float(content.get("loss_val_best", math.nan))
    return TrainState(
        step=int(content.get("n_iter", 0)),
        seconds=float(content.get("training_time", 0.0)),
        best=best if math.isfinite(best) else None,
    )


def _restore_scheduler(path: Path, scheduler: LRScheduler, saved: dict[str, Any]) -> None:
    own = scheduler.state_dict()
    held = {key: value for key, value in saved.items() if key in own and not isinstance(value, Stub)}
    steps = {"step_ratio", "total_size", "milestones"} & own.keys()
    if not steps <= held.keys():
        raise WeightsError(
            f"{path} was written with another learning-rate schedule than {type(scheduler).__name__}; "
            "set training.resume_scheduler to false."
        )
    scheduler.load_state_dict({**own, **held})
