"""Fitting both networks to many scenes: the prior from which every scene's own optimisation starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench.weights.checkpoint import read_checkpoint
from refbench_immpi.official.checkpoints import NETWORKS
from refbench_immpi.official.folders import SceneFolder, is_scene_folder
from refbench_immpi.official.neighbour_orders import whu_neighbours, whu_references
from refbench_immpi.training.loss_terms import Comparer
from refbench_immpi.training.task import FILES, Both, PriorTask, Sample, samples_of
from refbench_immpi.views.posed import posed_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench import Context, Scene
    from refbench_immpi.config import TrainingConfig
    from refbench_immpi.method import ImMPI
    from refbench_immpi.views.posed import Posed

PRECISIONS = {"float32": "32-true", "mixed": "bf16-mixed"}


def fit_scenes(
    method: ImMPI,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train the method's networks in place and return provenance of JSON types.

    Parameters
    ----------
    method
        Its networks are the start: fresh, or those of its weights.
    scenes
        The last one validates where there are several.
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
    config = method.config.training
    total = config.steps if steps is None else steps
    number = method.config.optimise.neighbours
    if scenes:
        grouped = [_samples(method, scene, number) for scene in scenes]
        learn, check = (grouped[:-1], grouped[-1]) if len(grouped) > 1 else (grouped, [])
    else:
        learn, check = official_samples(config)
    comparer = Comparer.of(
        method.config.loss,
        method.config.planes,
        half_pixel=method.config.optimise.half_pixel,
        device=context.device,
    )
    task = PriorTask(
        Both(method.encoder, method.generator),
        [sample for of in learn for sample in of],
        comparer,
        config,
        steps=total,
        validation=check,
        seed=context.seed,
    )
    settings = TrainSettings(
        total,
        folder,
        validate_every=min(config.validate_every, total),
        checkpoint_every=min(config.checkpoint_every, total),
        log_every=min(20, total),
        resume=resume,
        device=context.device,
        devices=config.devices,
        precision=PRECISIONS[config.precision],
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    state = train(task, settings, context)
    task.model.cpu().eval()
    if folder is not None and check and FILES.best_in(folder).exists():
        held = read_checkpoint(FILES.best_in(folder))
        for name, net in zip(NETWORKS, (task.model.encoder, task.model.generator), strict=True):
            net.load_state_dict(held[name])
    method.encoder, method.generator, method.is_trained = task.model.encoder, task.model.generator, True
    return {
        "data": sorted({sample.reference.name.partition("/")[0] for of in learn for sample in of}),
        "validated_on": sorted({sample.reference.name.partition("/")[0] for sample in check}),
        "seed": context.seed,
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "best_validation_loss": state.best,
    }


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


def _samples(method: ImMPI, scene: Scene, number: int) -> list[Sample]:
    """Return the samples of a scene; names hold over scenes, since what is kept of a pair goes by them."""
    views = [view.scaled(method.config.most_pixels) for view in posed_views(scene, method.config.planes.margin)]
    found = samples_of(views, number, method.turned(scene))
    return [
        Sample(_named(sample.reference, scene.id), tuple(_named(target, scene.id) for target in sample.targets))
        for sample in found
    ]


def _named(view: Posed, scene: str) -> Posed:
    return replace(view, name=f"{scene}/{view.name}")
