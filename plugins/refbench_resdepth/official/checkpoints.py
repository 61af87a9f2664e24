"""Training checkpoints and run folders in the official formats, readable by the official code."""

from __future__ import annotations

import json
import math
import pickle
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import WeightsError
from refbench.files.atomic import atomic_file
from refbench.weights.checkpoint import read_checkpoint
from refbench_resdepth.official.model import ARCHITECTURE_FILE, GEOM_FILE, IMAGE_FILE, official_settings

if TYPE_CHECKING:
    from pathlib import Path

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    from refbench_resdepth.config import ModelConfig
    from refbench_resdepth.scale import Scale

    Schedule = LRScheduler | ReduceLROnPlateau | None

STEP = "refbench_step"
"""Key of the optimiser step, which the official code ignores: it only writes at the end of an epoch."""


def write_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    epoch: int,
    step: int,
    losses: tuple[float, float],
) -> None:
    """Write ``path`` beside its place and rename it. ``losses`` of training and validation are metres."""
    content: dict[str, Any] = {
        "epoch": epoch,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss_train": float(losses[0]),
        "loss_val": float(losses[1]),
        STEP: step,
    }
    if schedule is not None:
        content["scheduler_state_dict"] = schedule.state_dict()
    beside = path.with_name(f".{path.name}.new")
    try:
        torch.save(content, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def restore_checkpoint(path: Path, model: torch.nn.Module, optimizer: Optimizer, schedule: Schedule) -> dict[str, Any]:
    """Restore model, optimiser and schedule from an official checkpoint; return its ``epoch``, ``step`` and losses.

    ``step`` is None in files of the official code.

    Raises
    ------
    WeightsError
        The file is of another architecture, optimiser or schedule, or wants to run code.
    """
    content = read_checkpoint(path)
    if "model_state_dict" not in content:
        raise WeightsError(f"{path} holds no 'model_state_dict', so it is no training checkpoint.")
    try:
        model.load_state_dict(content["model_state_dict"])
    except RuntimeError as error:
        raise WeightsError(f"{path} is of another architecture: {' '.join(str(error).split())[:300]}.") from None
    try:
        optimizer.load_state_dict(content["optimizer_state_dict"])
    except (ValueError, KeyError) as error:
        raise WeightsError(f"{path}: the optimiser's state does not fit this network ({error}).") from None
    if schedule is not None and content.get("scheduler_state_dict"):
        held = content["scheduler_state_dict"]
        own = schedule.state_dict()
        if not own.keys() <= held.keys() | {"verbose", "_is_initial"}:
            missing = sorted(own.keys() - held.keys())
            raise WeightsError(f"{path} was written with another learning-rate schedule: it lacks {missing[0]}.")
        schedule.load_state_dict({**own, **{key: held[key] for key in own if key in held}})
    loss = float(content.get("loss_val", math.nan))
    return {
        "epoch": int(content.get("epoch", -1)),
        "step": content.get(STEP),
        "loss_train": float(content.get("loss_train", math.nan)),
        "loss_val": loss if math.isfinite(loss) else None,
    }


def write_side_files(folder: Path, model: ModelConfig, scale: Scale) -> None:
    """Write ``model_config.json`` and the two pickles of an official run folder (none for images it does not use)."""
    with atomic_file(folder / ARCHITECTURE_FILE) as file:
        file.write(json.dumps(official_settings(model), indent=2).encode())
    contents: dict[str, dict[str, float | None]] = {GEOM_FILE: {"mean": None, "std": float(scale.dsm_std)}}
    if model.n_images and scale.image_rule == "fixed" and scale.image_std is not None:
        contents[IMAGE_FILE] = {"mean": scale.image_mean, "std": float(scale.image_std)}
    for name, values in contents.items():
        with atomic_file(folder / name) as file:
            file.write(pickle.dumps(values, protocol=pickle.HIGHEST_PROTOCOL))
