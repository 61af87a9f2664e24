"""Fitting the enhancer to scenes with an initial DSM, a reference and, for two channels, an NDVI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.formats.memory_budget import MemoryBudget
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench.training.task import initialised
from refbench.weights.checkpoint import read_checkpoint
from refbench_pix2pix.network.discriminators import build_discriminator
from refbench_pix2pix.official.checkpoints import load_discriminator
from refbench_pix2pix.official.options import write_options
from refbench_pix2pix.training.samples import Place, TileBatches, TileCutter, grid_batches
from refbench_pix2pix.training.schedule import initialise
from refbench_pix2pix.training.task import FILES, Pair, Pix2PixTask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from refbench import Context, Scene
    from refbench_pix2pix.method import Pix2Pix

PRECISIONS = {"float32": "32-true", "mixed": "bf16-mixed"}
VALIDATIONS = 15
"""How often a training is validated, where ``steps`` are given."""
HELD_SHARE = 2
"""A training holds rasters in at most 1 / HELD_SHARE of its memory budget."""


def fit_scenes(
    method: Pix2Pix,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train the method's generator in place and return provenance of JSON types.

    Parameters
    ----------
    method
        Its generator is the start: fresh, or that of its weights.
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
    config = method.config.training
    budget = MemoryBudget(context.memory_budget_bytes // HELD_SHARE)
    places = [_place(scene, method.takes_ndvi, budget) for scene in scenes]
    train_on, check_on = (places[:-1], places[-1:]) if len(places) > 1 else (places, places)
    cutter = TileCutter(method.values, config.tile_size)
    shape = method.net.config
    judge = initialised(
        context.seed + 1,
        lambda: initialise(
            build_discriminator(method.config.discriminator, shape.input_nc + shape.output_nc),
            config.init_type,
            config.init_gain,
        ),
    )
    started_from = method.weights if method.weights is not None and method.weights.is_file() else None
    has_judge = started_from is not None and load_discriminator(judge, started_from)
    per_epoch = -(-config.samples_per_epoch // (config.batch_size * config.devices))
    total = (config.n_epochs + config.n_epochs_decay) * per_epoch if steps is None else steps
    task = Pix2PixTask(
        Pair(method.net, judge),
        TileBatches(train_on, cutter, config, context.seed),
        config,
        per_epoch=per_epoch if steps is None else -(-total // (config.n_epochs + config.n_epochs_decay)),
        validation=grid_batches(check_on, cutter),
        seed=context.seed,
    )
    every = max(1, total // VALIDATIONS) if steps else per_epoch
    settings = TrainSettings(
        total,
        folder,
        validate_every=every,
        checkpoint_every=every,
        backup_every=task.per_epoch * config.save_epoch_freq,
        log_every=min(20, total),
        resume=resume,
        device=context.device,
        devices=config.devices,
        workers=config.workers,
        precision=PRECISIONS[config.precision],
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_options(folder / "train_opt.txt", method.config, method.net.config)
    state = train(task, settings, context)
    task.model.cpu().eval()
    if folder is not None and FILES.best_in(folder).exists():
        task.model.generator.load_state_dict(read_checkpoint(FILES.best_in(folder))["networks"]["generator"])
    method.net, method.is_trained = task.model.generator.eval(), True
    method.facts["gsd"] = scenes[0].require_grid().gsd
    return {
        "data": [scene.id for scene in scenes],
        "validated_on": [place.name for place in check_on],
        "seed": context.seed,
        "discriminator": "from the official checkpoint" if has_judge else "fresh",
        "steps": state.step,
        "batch_size": config.batch_size,
        "seconds": round(state.seconds, 1),
        "best_validation_mae": state.best,
        "input_validation_mae": input_error(task.validation),
    }


def input_error(batches: Sequence[dict[str, torch.Tensor]]) -> float | None:
    """Return what the validation score of the initial DSM itself is, in metres."""
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
