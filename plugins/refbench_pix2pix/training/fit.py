"""Fitting the enhancer to scenes with an initial DSM, a reference and, for two channels, an NDVI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.training.learnt import VALIDATIONS, Trained, raster_budget, take_best
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench.training.task import initialised
from refbench_pix2pix.network.discriminators import build_discriminator
from refbench_pix2pix.network.pair import Pair
from refbench_pix2pix.official.checkpoints import load_discriminator
from refbench_pix2pix.official.options import write_options
from refbench_pix2pix.training.samples import Place, TileBatches, TileCutter, grid_batches
from refbench_pix2pix.training.schedule import initialise
from refbench_pix2pix.training.task import Pix2PixTask
from refbench_pix2pix.weights import trained_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from refbench import Context, Scene
    from refbench.formats.memory_budget import MemoryBudget
    from refbench_pix2pix.config import Pix2PixConfig, ValueConfig
    from refbench_pix2pix.network.network import Generator


@dataclass(frozen=True)
class Start:
    """Where a training begins: a generator, fresh or that of the weights at ``path``, and the values it knows."""

    net: Generator
    values: ValueConfig
    path: Path | None = None


def fit_scenes(
    start: Start,
    config: Pix2PixConfig,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train a generator and return it with its provenance.

    Parameters
    ----------
    start
        The generator; it is trained in place.
    config
        Discriminator and training.
    scenes
        The last one validates where there are several, else the only one does.
    context
        Device, seed, memory, progress.
    steps
        Optimiser steps in all; None takes the configured epochs.
    folder
        Where checkpoints, official network files and logs go.
    resume
        Go on from the folder's last checkpoint.

    Raises
    ------
    InputError
        A scene lacks a DSM, a reference or the NDVI, or they lie on different grids.
    """
    training, shape = config.training, start.net.config
    budget = raster_budget(context)
    places = [_place(scene, shape.input_nc > 1, budget) for scene in scenes]
    train_on, check_on = (places[:-1], places[-1:]) if len(places) > 1 else (places, places)
    cutter = TileCutter(start.values, training.tile_size)
    discriminator = initialised(
        context.seed + 1,
        lambda: initialise(
            build_discriminator(config.discriminator, shape.input_nc + shape.output_nc),
            training.init_type,
            training.init_gain,
        ),
    )
    started_from = start.path if start.path is not None and start.path.is_file() else None
    has_discriminator = started_from is not None and load_discriminator(discriminator, started_from)
    per_epoch = -(-training.samples_per_epoch // (training.batch_size * training.devices))
    total = (training.n_epochs + training.n_epochs_decay) * per_epoch if steps is None else steps
    task = Pix2PixTask(
        Pair(start.net, discriminator),
        TileBatches(train_on, cutter, training, context.seed),
        training,
        per_epoch=per_epoch if steps is None else -(-total // (training.n_epochs + training.n_epochs_decay)),
        validation=grid_batches(check_on, cutter),
        seed=context.seed,
    )
    every = max(1, total // VALIDATIONS) if steps else per_epoch
    settings = TrainSettings(
        total,
        folder,
        validate_every=every,
        checkpoint_every=every,
        backup_every=task.per_epoch * training.save_epoch_freq,
        log_every=min(20, total),
        resume=resume,
        device=context.device,
        devices=training.devices,
        workers=training.workers,
        precision=training.precision,
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_options(folder / "train_opt.txt", config, shape)
    state = train(task, settings, context)
    take_best(task, settings)
    provenance = {
        "data": [scene.id for scene in scenes],
        "validated_on": [place.name for place in check_on],
        "seed": context.seed,
        "discriminator": "from the official checkpoint" if has_discriminator else "fresh",
        "steps": state.step,
        "batch_size": training.batch_size,
        "seconds": round(state.seconds, 1),
        "best_validation_mae": state.best,
        "input_validation_mae": input_error(task.validation),
    }
    facts = {"gsd": scenes[0].require_grid().gsd}
    return trained_model(task.model.generator, start.values, facts, provenance=provenance)


def input_error(batches: Sequence[Mapping[str, torch.Tensor]]) -> float | None:
    """Return what the validation score of the initial DSM itself is, in metres. Tiles are [B, C, H, W]."""
    total, count = 0.0, 0
    for batch in batches:
        error = (batch["x"][:, :1] - batch["y"]).abs() * batch["metres_per_unit"].reshape(-1, 1, 1, 1)
        total, count = total + float(error[batch["mask"]].sum()), count + int(batch["mask"].sum())
    return total / count if count else None


def _place(scene: Scene, takes_ndvi: bool, budget: MemoryBudget) -> Place:
    grid, reference = scene.require_grid(), scene.reference
    if scene.dsm is None or reference is None or reference.dsm is None:
        raise InputError(f"Scene {scene.id} cannot train pix2pix: it needs an initial DSM and a reference DSM.")
    if takes_ndvi and scene.ndvi is None:
        raise InputError(f"Scene {scene.id} has no NDVI; add one, or train with --set generator.input_nc=1.")
    sources = {"reference": reference.dsm, "NDVI": scene.ndvi if takes_ndvi else None}
    for name, source in sources.items():
        if source is None or source.grid is None:
            continue
        if wrong := "; ".join(grid.differences(source.grid)):
            raise InputError(f"Scene {scene.id}: the {name} does not lie on the grid of the DSM: {wrong}.")
    return Place(
        scene.id,
        budget.hold(scene.dsm),
        budget.hold(reference.dsm),
        budget.hold(scene.ndvi) if takes_ndvi and scene.ndvi is not None else None,
        None if reference.mask is None else budget.hold(reference.mask),
    )
