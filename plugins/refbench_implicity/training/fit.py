"""Fitting the network: as published from an official data set, or from scenes with a reference DSM."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.training.learnt import Trained, take_best
from refbench.training.loop import train
from refbench.training.run_folder import official_run_folder
from refbench.training.settings import TrainSettings
from refbench_implicity.patches import collate
from refbench_implicity.training.city_items import CityRules, packed_scene
from refbench_implicity.training.dataset import RandomCropItems, SlidingWindowItems, official_items
from refbench_implicity.training.scenes import CityTraining, fit_packed
from refbench_implicity.training.task import OccupancyTask, PatchBatches
from refbench_implicity.weights import trained_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from refbench import Context, Scene
    from refbench_implicity.config import ImpliCityConfig
    from refbench_implicity.network.network import ImpliCityNet
    from refbench_implicity.normalise import Normalisation
    from refbench_implicity.patches import Batch


@dataclass(frozen=True)
class Start:
    """Where a training begins: a network with its normalisation and constants, fresh or that of weights."""

    net: ImpliCityNet
    normalisation: Normalisation
    constants: Mapping[str, float]
    is_fresh: bool = True


def fit_scenes(
    start: Start,
    config: ImpliCityConfig,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train from scenes and return the network with its provenance.

    Parameters
    ----------
    start
        The network; it is trained in place.
    config
        Its training; also which normalisation was asked for.
    scenes
        Scenes with points, orthos and a reference DSM.
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
    InputError
        A scene lacks points, orthos or a reference, or is smaller than a patch.
    """
    scale = start.normalisation
    if start.is_fresh and config.normalisation.image_rule is None:
        # New weights from any sensor: the published constants belong to one.
        scale = dataclasses.replace(scale, image_rule="robust", bands="mean")
    packed = [packed_scene(scene, scale) for scene in scenes]
    rules = CityRules(patch_size=start.constants["patch_size"], z_std=scale.z_std, z_shift=scale.z_shift)
    training = config.training
    total = training.iterations if steps is None else steps
    city = CityTraining(
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
    provenance = fit_packed(start.net, packed, city, settings, context)
    constants = {**start.constants, "pixel_size": packed[0].gsd}
    return trained_model(start.net, scale, constants, provenance=provenance)


def fit_official(
    start: Start,
    config: ImpliCityConfig,
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train as published from the data set that an official configuration names; otherwise as ``fit_scenes``.

    Raises
    ------
    ConfigError
        The configuration lacks what the data set needs.
    MissingFileError
        A file of the data set is missing.
    """
    training = config.training
    crops = RandomCropItems(official_items(config, "train"), context.seed)
    windows = SlidingWindowItems(official_items(config, "val"), seed=context.seed)
    task = OccupancyTask(
        start.net,
        PatchBatches(crops, training.batch_size),
        training,
        validation=_Validation(windows),
        threshold=start.constants["threshold"],
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
    before = None
    if training.resume_from is not None and not resume:
        before = dataclasses.replace(task.read(Path(training.resume_from)), seconds=0.0)
    state = train(task, settings, context, before)
    take_best(task, settings)
    provenance = {
        "data": config.dataset.name or str(config.dataset.path),
        "official_run_folder": str(run),
        "seed": context.seed,
        "steps": state.step,
        "last_scores": state.history[-1] if state.history else {},
    }
    return trained_model(start.net, start.normalisation, start.constants, provenance=provenance)


class _Validation:
    """The validation patches as batches of one, read anew at every pass."""

    def __init__(self, windows: SlidingWindowItems) -> None:
        self.windows = windows

    def __iter__(self) -> Iterator[Batch]:
        return (collate([self.windows[index]]) for index in range(len(self.windows)))
