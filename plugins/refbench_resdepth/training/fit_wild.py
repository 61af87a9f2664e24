"""Fitting ResDepth to the cached cities and surfaces of ``refbench.training.wild``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from refbench.contracts.errors import ConfigError
from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench.training.task import initialised
from refbench.training.wild import fill_cache, sample_path
from refbench_resdepth.config import ModelConfig
from refbench_resdepth.network.network import UNet
from refbench_resdepth.scale import Scale
from refbench_resdepth.training.wild_samples import WildBatches
from refbench_resdepth.training.wild_task import MAE, WildTask
from refbench_resdepth.weights import trained_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench import Context
    from refbench.training.learnt import Trained
    from refbench_resdepth.config import WildConfig

HEIGHT_PX = 8.0
"""What heights are divided by, in pixels: 4 m on pixels of 0.5 m."""
HELD_EVERY, HELD_REST = 20, 7
"""Seeds that leave this rest validate."""
HELD_BATCHES = 12
DEFAULT_STEPS = 100_000
FIRST_LOG_SCALE = -2.0


def fit_wild(
    model: ModelConfig,
    config: WildConfig,
    context: Context,
    *,
    old: Mapping[str, torch.Tensor],
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train a network of 0, 1 or 2 images and return it with its provenance.

    The cache is filled first, as far as it is not. ``old`` tensors are the start, where there are any: what fits is
    taken over, what is new starts at nothing.
    Weights are [outputs, inputs, height, width].

    Raises
    ------
    ConfigError
        ``model`` is a network of another kind.
    """
    if not (model.uncertainty and model.optional_images and model.hole_channel and model.n_images == 2):
        raise ConfigError("Training in the wild takes geom-stereo with optional_images, hole_channel and uncertainty.")
    net = initialised(context.seed, lambda: UNet(model))
    started = warm_start(net, old)
    total = steps or DEFAULT_STEPS
    scale = Scale(HEIGHT_PX, "robust", height_rule="gsd")
    cache = Path(config.cache) if config.cache else (folder or Path()).parent / "cache"
    train_on, check_on = _files(cache, config, context)
    batches = WildBatches(train_on, scale, config, context.seed)
    held_batches = WildBatches(check_on or train_on, scale, config, context.seed + 1)
    task = WildTask(net, batches, config, _held(held_batches), total)
    settings = TrainSettings(
        total,
        folder,
        validate_every=config.validate_steps,
        checkpoint_every=config.checkpoint_steps,
        log_every=min(50, total),
        resume=resume,
        device=context.device,
        precision=config.precision,
    )
    state = train(task, settings, context)
    net.cpu().load_state_dict(task.average)
    provenance = {
        "data": f"cities of version 2 and degraded surfaces, seeds {config.seeds[0]} to {config.seeds[1]}",
        "samples": len(train_on),
        "surfaces": [Path(path).name for path in config.surfaces],
        "started_from": started,
        "seed": context.seed,
        "steps": state.step,
        "batch_size": config.batch_size,
        "seconds": round(state.seconds, 1),
        "validation": state.history[-1] if state.history else {},
        "best_validation_mae_px": None if state.best is None else round(HEIGHT_PX * state.best, 4),
    }
    return trained_model(net, scale, {"tile_size": config.tile_size}, provenance=provenance)


def wild_model() -> ModelConfig:
    """Return the network of the recipe: that of the reduced weights with a hole channel and a second output."""
    return ModelConfig(start_kernel=32, max_filter_depth=256, optional_images=True, hole_channel=True, uncertainty=True)


def warm_start(net: UNet, old: Mapping[str, torch.Tensor]) -> int:
    """Copy what fits of ``old`` into ``net`` and return how many tensors did.

    A first layer that sees fewer channels fills the first ones, a last layer of one output the first one; what is
    left is 0, and the second output starts at ``FIRST_LOG_SCALE`` everywhere.
    Weights are [outputs, inputs, height, width].
    """
    taken = 0
    state = net.state_dict()
    with torch.no_grad():
        for key, tensor in state.items():
            given = old.get(key)
            if given is None:
                continue
            if given.shape == tensor.shape:
                tensor.copy_(given)
            elif key == "encoder.0.0.0.weight" and given.shape[1] <= tensor.shape[1]:
                tensor.zero_()
                tensor[:, : given.shape[1]] = given
            elif key.startswith("last_layer") and given.shape[0] == 1:
                tensor[:1] = given
            else:
                continue
            taken += 1
        state["last_layer.weight"][1:] = 0
        if "last_layer.bias" in state:
            state["last_layer.bias"][1:] = FIRST_LOG_SCALE
    return taken


def _files(cache: Path, config: WildConfig, context: Context) -> tuple[list[Path], list[Path]]:
    """Fill the cache and return the files to train on and those that validate."""
    first, last = config.seeds
    surfaces = [Path(path) for path in config.surfaces]
    seeds = range(first, last + 1)
    for number, seed in enumerate(seeds):
        context.check_cancelled()
        if not sample_path(cache, seed, 0).exists() and fill_cache(cache, [seed], surfaces):
            context.report(0.0, f"made seed {seed}, {number + 1} of {len(seeds)}")
    files: tuple[list[Path], list[Path]] = ([], [])
    for path in sorted(cache.glob("wild-*-*.npz")):
        seed = int(path.stem.split("-")[1])
        if first <= seed <= last:
            files[int(seed % HELD_EVERY == HELD_REST)].append(path)
    return files


def _held(batches: WildBatches) -> list[dict[str, torch.Tensor]]:
    """Return fixed batches with both images for validation."""
    from dataclasses import replace

    batches.config = replace(batches.config, image_odds=(0.0, 0.0, 1.0))
    return [batches[number] for number in range(HELD_BATCHES)]


__all__ = ["MAE", "fit_wild", "warm_start", "wild_model"]
