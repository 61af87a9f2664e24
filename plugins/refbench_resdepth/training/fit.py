"""Fitting ResDepth to scenes with a reference DSM."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from refbench.contracts.errors import ConfigError, InputError
from refbench.geometry.image_scale import robust_image_scale
from refbench.training.learnt import VALIDATIONS, Trained, raster_budget, take_best
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench_resdepth.ensemble import image_tuples
from refbench_resdepth.regions import Extent, allocate
from refbench_resdepth.scale import Scale
from refbench_resdepth.training.samples import Area, Cutter, EpochBatches, GridSamples, TrainSamples
from refbench_resdepth.training.sampling import Positions
from refbench_resdepth.training.statistics import height_scale, input_error
from refbench_resdepth.training.task import ResDepthTask
from refbench_resdepth.weights import trained_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from refbench import Context, Scene
    from refbench.formats.memory_budget import MemoryBudget
    from refbench_resdepth.config import ModelConfig, ResDepthConfig, TrainingConfig
    from refbench_resdepth.network.network import UNet

VALIDATION_STRIPE = 4


def fit_scenes(
    net: UNet,
    scale: Scale | None,
    config: ResDepthConfig,
    scenes: Sequence[Scene],
    context: Context,
    *,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train a network and return it with its provenance.

    Parameters
    ----------
    net
        Where the training begins; it is trained in place.
    scale
        That the network knows; None measures one on the training areas.
    config
        Its training.
    scenes
        Scenes with an initial DSM, orthos and a reference DSM. The last one validates; a single one validates on its
        eastern fifth.
    context
        Device, seed, memory, progress.
    steps
        Optimiser steps in all; None takes the configured epochs.
    folder
        Where checkpoints and logs go.
    resume
        Go on from the folder's last checkpoint.

    Raises
    ------
    InputError
        A scene lacks a DSM, orthos or a reference, or is smaller than a tile.
    """
    training, model, tile = config.training, net.config, training_tile(config.training, net.config)
    budget = raster_budget(context)
    areas = [_area(scene, model.n_images, budget) for scene in scenes]
    train_on, check_on = _split(areas, tile)
    train_on = _counted(train_on, tile, training.n_training_samples, steps and steps * training.batch_size)
    draft = TrainSamples(train_on, Cutter(model, Scale(1.0), tile), training, context.seed)
    scale = scale or Scale(height_scale(train_on, draft.positions, tile))
    cutter = Cutter(model, scale, tile)
    batches = EpochBatches(TrainSamples(train_on, cutter, training, context.seed), training.batch_size)
    total = training.n_epochs * batches.per_epoch if steps is None else steps
    task = ResDepthTask(net, batches, training, GridSamples(check_on, cutter), cosine_steps=total)
    settings = TrainSettings(
        total,
        folder,
        validate_every=max(1, total // VALIDATIONS) if steps else batches.per_epoch * training.evaluate_rate,
        checkpoint_every=max(1, min(batches.per_epoch, total // VALIDATIONS)),
        log_every=min(10, total),
        resume=resume,
        device=context.device,
        workers=training.workers,
        precision=training.precision,
    )
    state = train(task, settings, context)
    take_best(task, settings)
    provenance = {
        "data": [scene.id for scene in scenes],
        "validated_on": [area.name for area in check_on],
        "seed": context.seed,
        "steps": state.step,
        "batch_size": training.batch_size,
        "tile_size": tile,
        "seconds": round(state.seconds, 1),
        "best_validation_mae": state.best,
        "input_validation_mae": input_error(task.validation),
    }
    facts = {"tile_size": tile, "gsd": float(scenes[0].require_grid().gsd)}
    return trained_model(task.model, scale, facts, provenance=provenance)


def training_tile(training: TrainingConfig, model: ModelConfig) -> int:
    """Return the tile size of a training; raises ``ConfigError`` where the network cannot take it."""
    tile = training.tile_size
    if tile % model.multiple:
        raise ConfigError(f"training.tile_size must be a multiple of {model.multiple} here, got {tile}.")
    return tile


def _area(scene: Scene, n_images: int, budget: MemoryBudget) -> Area:
    """Return a scene as an area over its whole raster."""
    grid = scene.require_grid()
    reference = scene.reference
    if scene.dsm is None or reference is None or reference.dsm is None:
        raise InputError(f"Scene {scene.id} cannot train ResDepth: it needs an initial DSM and a reference DSM.")
    target = reference.dsm
    if target.grid is not None and (wrong := "; ".join(grid.differences(target.grid))):
        raise InputError(f"Scene {scene.id}: the reference does not lie on the grid of the DSM: {wrong}.")
    tuples = image_tuples(scene, n_images)
    images = {name: budget.hold(scene.orthos[name]) for names in tuples for name in names}
    for name, source in images.items():
        if source.grid is not None and (wrong := "; ".join(grid.differences(source.grid))):
            raise InputError(f"Scene {scene.id}: ortho {name} does not lie on the grid of the DSM: {wrong}.")
    return Area(
        scene.id,
        budget.hold(scene.dsm),
        budget.hold(target),
        images,
        tuples,
        (Extent(0, grid.width - 1, 0, grid.height - 1),),
        reference_valid=None if reference.mask is None else budget.hold(reference.mask),
        own_scales={name: robust_image_scale(source) for name, source in images.items()},
    )


def _split(areas: Sequence[Area], tile: int) -> tuple[list[Area], list[Area]]:
    """Return the areas to train on and those to validate on."""
    if len(areas) > 1:
        return list(areas[:-1]), [areas[-1]]
    only = areas[0]
    whole = only.extents[0]
    stripes = allocate(whole.rows, whole.cols, "5-crossval_vertical", VALIDATION_STRIPE, crossval=True)
    if min(whole.rows, stripes["train"][0].cols) < tile:
        raise InputError(f"{only.name} is smaller than a training tile of {tile} px; set training.tile_size lower.")
    return (
        [dataclasses.replace(only, extents=stripes["train"])],
        [dataclasses.replace(only, name=f"{only.name}, eastern fifth", extents=stripes["val"])],
    )


def _counted(areas: Sequence[Area], tile: int, samples: int, needed: int | None) -> list[Area]:
    """Share the samples of an epoch among the areas: no more than asked for, than needed, or than there are."""
    wanted = samples if needed is None else min(samples, needed)
    each = -(-wanted // len(areas))
    counted = []
    for area in areas:
        positions = len(Positions(area.extents, tile))
        if not positions:
            raise InputError(f"{area.name} is smaller than a training tile of {tile} px; set training.tile_size lower.")
        counted.append(dataclasses.replace(area, n_samples=min(each, positions)))
    return counted
