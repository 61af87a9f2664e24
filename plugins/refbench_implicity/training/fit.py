"""Fitting a method: as published from an official data set, or from scenes with a reference DSM."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError
from refbench.training.loop import train
from refbench.training.run_folder import official_run_folder
from refbench.training.settings import TrainSettings
from refbench.training.task import initialised
from refbench_implicity.network.network import build_model
from refbench_implicity.patches import collate
from refbench_implicity.training.city_items import CityRules, packed_scene
from refbench_implicity.training.dataset import RandomCropItems, SlidingWindowItems, official_items
from refbench_implicity.training.scenes import CityTraining, fit_packed, take_best
from refbench_implicity.training.task import OccupancyTask, PatchBatches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refbench import Context, Scene
    from refbench_implicity.method import ImpliCity
    from refbench_implicity.patches import Batch


def fit(
    method: ImpliCity,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train the method's network in place and return provenance of JSON types.

    Parameters
    ----------
    method
        Its network is the start: fresh, or that of its weights.
    scenes
        Scenes with points, orthos and a reference DSM; none: the data set that an official configuration names.
    context
        Device, seed, progress.
    steps
        Optimiser steps in all; None takes the configuration's ``training.iterations``.
    folder
        Where checkpoints and logs go.
    resume
        Go on from the folder's last checkpoint.

    Raises
    ------
    ConfigError
        There are neither scenes nor a data set.
    InputError
        A scene lacks points, orthos or a reference, or is smaller than a patch.
    """
    if not scenes and method.config.dataset.path is None:
        raise ConfigError("Training needs scenes with a reference, or a configuration that names a data set.")
    if not method.is_trained:
        method.net = initialised(context.seed, lambda: build_model(method.model))
    if scenes:
        return _fit_scenes(method, scenes, context, steps, folder, resume)
    return _fit_official(method, context, steps, folder, resume)


def _fit_scenes(
    method: ImpliCity, scenes: Sequence[Scene], context: Context, steps: int | None, folder: Path | None, resume: bool
) -> dict[str, Any]:
    if not method.is_trained and method.config.normalisation.image_rule is None:
        # New weights from any sensor: the published constants belong to one.
        method.normalisation = dataclasses.replace(method.normalisation, image_rule="robust", bands="mean")
    packed = [packed_scene(scene, method.normalisation) for scene in scenes]
    scale = method.normalisation
    rules = CityRules(patch_size=method.patch_size, z_std=scale.z_std, z_shift=scale.z_shift)
    training = method.config.training
    total = training.iterations if steps is None else steps
    config = CityTraining(
        steps=total,
        batch_size=max(training.batch_size, 1),
        learning_rate=training.learning_rate,
        seed=context.seed,
        validation_scenes=1 if len(packed) > 1 else 0,
        rules=rules,
    )
    settings = TrainSettings(
        total,
        folder,
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
        log_every=training.print_every,
        resume=resume,
        device=context.device,
    )
    method.constants["pixel_size"] = packed[0].gsd
    provenance = fit_packed(method.net, packed, config, settings, context)
    method.is_trained = True
    return provenance


def _fit_official(
    method: ImpliCity, context: Context, steps: int | None, folder: Path | None, resume: bool
) -> dict[str, Any]:
    config = method.config
    training = config.training
    crops = RandomCropItems(official_items(config, "train"), context.seed)
    windows = SlidingWindowItems(official_items(config, "val"), seed=context.seed)
    task = OccupancyTask(
        method.net,
        PatchBatches(crops, training.batch_size),
        training,
        validation=_Validation(windows),
        threshold=method.constants["threshold"],
        scores_while_training=True,
    )
    total = training.iterations if steps is None else steps
    name = f"{datetime.now():%y_%m_%d-%H_%M_%S}-{training.run_name}"
    run = official_run_folder(Path(training.out_dir) / name, folder, resume)
    settings = TrainSettings(
        total,
        run,
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
        backup_every=training.backup_every,
        log_every=training.print_every,
        resume=resume,
        device=context.device,
        workers=config.dataset.n_workers,
    )
    start = None
    if training.resume_from is not None and not resume:
        start = task.read(Path(training.resume_from))
    state = train(task, settings, context, dataclasses.replace(start, seconds=0.0) if start is not None else None)
    take_best(task, settings)
    method.is_trained = True
    return {
        "data": config.dataset.name or str(config.dataset.path),
        "official_run_folder": str(run),
        "seed": context.seed,
        "steps": state.step,
        "last_scores": state.history[-1] if state.history else {},
    }


class _Validation:
    """The validation patches as batches of one, read anew at every pass."""

    def __init__(self, windows: SlidingWindowItems) -> None:
        self.windows = windows

    def __iter__(self) -> Iterator[Batch]:
        return (collate([self.windows[index]]) for index in range(len(self.windows)))
