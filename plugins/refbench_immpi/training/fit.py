"""Fitting both networks to many scenes: the prior from which every scene's own optimisation starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.training.learnt import Trained, take_best
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench_immpi.official.folders import SceneFolder, is_scene_folder
from refbench_immpi.official.neighbour_orders import whu_neighbours, whu_references
from refbench_immpi.training.loss_terms import Comparer
from refbench_immpi.training.task import PriorTask, Sample, samples_of
from refbench_immpi.views.nadir_view import turned
from refbench_immpi.views.posed import posed_views
from refbench_immpi.weights import trained_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench import Context, Scene
    from refbench_immpi.config import ImMPIConfig, TrainingConfig
    from refbench_immpi.network.pair import Pair
    from refbench_immpi.views.posed import Posed


def fit_scenes(
    nets: Pair,
    config: ImMPIConfig,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train both networks and return them with their provenance.

    Parameters
    ----------
    nets
        Where the training begins; they are trained in place.
    config
        Planes, losses, training.
    scenes
        The last one validates where there are several; none: the folders that the configuration names.
    context
        Device, seed, progress.
    steps
        In all; None takes the configuration's.
    folder
        Where checkpoints and logs go.
    resume
        Go on from the folder's last checkpoint.

    Raises
    ------
    UnsupportedError
        A scene without two pinhole views, or without anything that tells its range of depths.
    """
    training = config.training
    total = training.steps if steps is None else steps
    if scenes:
        grouped = [_samples(config, scene) for scene in scenes]
        learn, check = (grouped[:-1], grouped[-1]) if len(grouped) > 1 else (grouped, [])
    else:
        learn, check = official_samples(training)
    comparer = Comparer.of(
        config.loss,
        config.planes,
        half_pixel=config.optimise.half_pixel,
        device=context.device,
    )
    task = PriorTask(
        nets,
        [sample for of in learn for sample in of],
        comparer,
        training,
        steps=total,
        validation=check,
        seed=context.seed,
    )
    settings = TrainSettings(
        total,
        folder,
        validate_every=min(training.validate_every, total),
        checkpoint_every=min(training.checkpoint_every, total),
        log_every=min(20, total),
        resume=resume,
        device=context.device,
        devices=training.devices,
        precision=training.precision,
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    state = train(task, settings, context)
    take_best(task, settings)
    provenance = {
        "data": sorted({sample.reference.name.partition("/")[0] for of in learn for sample in of}),
        "validated_on": sorted({sample.reference.name.partition("/")[0] for sample in check}),
        "seed": context.seed,
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "best_validation_loss": state.best,
    }
    return trained_model(nets, config.planes.number, provenance=provenance)


def official_samples(config: TrainingConfig) -> tuple[list[list[Sample]], list[Sample]]:
    """Return the samples of the WHU-MVS folders that a configuration names, scene by scene, and those to validate on.

    Raises
    ------
    InputError
        No folder is named, a scene of the list is not there, or there are no samples with so many neighbours.
    """
    if config.folder is None:
        raise InputError("There is nothing to train on: name scenes, or training.folder in the configuration.")
    if not whu_references(config.neighbours):
        raise InputError(f"training.neighbours must be 19 or 4, got {config.neighbours}.")
    learn = [_whu_samples(SceneFolder(path), config.neighbours) for path in _listed(config.folder, config.scenes)]
    if config.validate_folder is None:
        return learn, []
    held = _listed(config.validate_folder, config.validate_scenes)
    return learn, [sample for path in held for sample in _whu_samples(SceneFolder(path), config.neighbours)]


def _listed(folder: str, names: str | None) -> list[Path]:
    root = Path(folder)
    if names is None:
        found = sorted(path for path in root.glob("*") if is_scene_folder(path))
    else:
        found = [root / line.strip() for line in Path(names).read_text().splitlines() if line.strip()]
    if not found or not all(is_scene_folder(path) for path in found):
        wrong = next((path for path in found if not is_scene_folder(path)), root)
        raise InputError(f"{wrong} holds no scene with Images and Cams to train on.")
    return found


def _whu_samples(folder: SceneFolder, number: int) -> list[Sample]:
    found = []
    for reference in whu_references(number):
        order = whu_neighbours(reference, number, many_scenes=True)
        targets = tuple(_named(folder.posed(f"{view:03d}"), folder.name) for view in order)
        found.append(Sample(_named(folder.posed(f"{reference:03d}", reference=True), folder.name), targets))
    return found


def _samples(config: ImMPIConfig, scene: Scene) -> list[Sample]:
    """Return the samples of a scene; names hold over scenes, since what is kept of a pair goes by them."""
    views = [view.scaled(config.most_pixels) for view in posed_views(scene, config.planes.margin)]
    found = samples_of(views, config.optimise.neighbours, turned(scene, config))
    return [
        Sample(_named(sample.reference, scene.id), tuple(_named(target, scene.id) for target in sample.targets))
        for sample in found
    ]


def _named(view: Posed, scene: str) -> Posed:
    return replace(view, name=f"{scene}/{view.name}")
