"""Fitting both networks to many scenes: the prior from which every scene's own optimisation starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refbench.scenes.checkpoint import read_checkpoint
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench_immpi.checkpoints import NETWORKS
from refbench_immpi.compare import Comparer
from refbench_immpi.posed import posed_views
from refbench_immpi.tasks import FILES, Both, PriorTask, Sample, samples_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from refbench import Context, Scene
    from refbench_immpi.method import ImMPI
    from refbench_immpi.posed import Posed

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
    grouped = [_samples(method, scene, number) for scene in scenes]
    learn, check = (grouped[:-1], grouped[-1]) if len(grouped) > 1 else (grouped, [])
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
        "data": [scene.id for scene in scenes],
        "validated_on": scenes[-1].id if check else None,
        "seed": context.seed,
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "best_validation_loss": state.best,
    }


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
