"""Training ImpliCity: as published from chunk data sets, or from scenes with a reference DSM.

``python -m refbench_implicity.training.scenes FOLDER --variant stereo --steps 5000 --out OUT`` trains from packed
scenes (``city_items.pack_scene``) on a machine that has torch, numpy, lightning and safetensors only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.contracts.errors import InputError
from refbench.training.loop import train
from refbench.training.schedules import CosineShare
from refbench.training.settings import TrainSettings
from refbench.training.task import CheckpointFiles, initialised
from refbench.weights.checkpoint import read_checkpoint
from refbench_implicity.config import (
    VARIANTS,
    DecoderConfig,
    ImageEncoderConfig,
    ModelConfig,
    PointEncoderConfig,
    SurfaceConfig,
    TrainingConfig,
    UNetConfig,
    Variant,
    published,
)
from refbench_implicity.network.network import ImpliCityNet, build_model
from refbench_implicity.patches import Batch, collate
from refbench_implicity.surface import extract_surface
from refbench_implicity.training.city_items import CityItems, CityRules, PackedScene, read_packed, robust_normalisation
from refbench_implicity.training.task import OccupancyTask, PatchBatches, on_device
from refbench_implicity.training.validation import mean_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench.contracts.method import Context

PROBE_STEPS, PROBE_SECONDS = 60, 45.0


@dataclass(frozen=True)
class CityTraining:
    """What a training from scenes may be told. Lengths are optimiser steps of ``batch_size`` patches."""

    steps: int = 5000
    batch_size: int = 8
    learning_rate: float = 1e-3
    seed: int = 0
    validation_scenes: int = 1
    """How many scenes, the last by name, are kept for validation; 0 validates on the training scenes."""
    validation_patches: int = 12
    rules: CityRules = field(default_factory=CityRules)


def small_model(variant: Variant) -> ModelConfig:
    """Return the reduced network of the built-in weights: some 3 million parameters, 7 MB in half precision."""
    points = PointEncoderConfig(unet=UNetConfig(depth=4, start_filts=16))
    count = VARIANTS.index(variant)
    image = ImageEncoderConfig(in_channel=count, num_hourglass=1, num_stack=1) if count else None
    return ModelConfig(point_encoder=points, image_encoder=image, decoder=DecoderConfig())


class CityTask(OccupancyTask):
    """Training from packed scenes: warm-up and cosine, validated by the error of the DSM that comes out."""

    def __init__(self, model: ImpliCityNet, scenes: Sequence[PackedScene], config: CityTraining) -> None:
        """Keep the last scenes for validation."""
        kept = min(config.validation_scenes, len(scenes) - 1)
        train_on, check_on = scenes[: len(scenes) - kept], scenes[len(scenes) - kept :] if kept else scenes
        items = CityItems(train_on, config.rules, config.seed)
        training = TrainingConfig(
            optimize_every=1,
            learning_rate=config.learning_rate,
            scheduler=dataclasses.replace(TrainingConfig().scheduler, type=None),
            model_selection_metric="mae",
            model_selection_mode="minimize",
        )
        super().__init__(model, PatchBatches(items, config.batch_size), training)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, CosineShare(config.steps))
        self.surface, self.rules = SurfaceConfig(h_range=config.rules.search_range), config.rules
        self.checks = list(validation_patches(check_on, config))

    def validate(self, device: torch.device) -> dict[str, float]:
        """Return loss and metrics of the queries, and MAE of the DSM and of the input DSM in metres."""
        rows = [self._check(on_device(batch, device), batch, truth, initial) for batch, truth, initial in self.checks]
        return mean_scores(rows)

    def _check(self, batch: Batch, held: Batch, truth: np.ndarray, initial: np.ndarray | None) -> dict[str, float]:
        scores = self.evaluate_batch(batch)
        planes, _ = self.forward(batch)
        z_std, shift = self.rules.z_std, float(held["z_shift"])
        found = extract_surface(
            self.model, planes, truth.shape, self.surface, z_std=z_std, threshold=self.threshold
        ).metres(z_std, shift, fill_empty=True)
        known = np.isfinite(truth) & (True if initial is None else np.isfinite(initial))
        scores["mae"] = float(np.abs(found - truth)[known].mean())
        if initial is not None:
            scores["input_mae"] = float(np.abs(initial - truth)[known].mean())
        return scores


def validation_patches(scenes: Sequence[PackedScene], config: CityTraining) -> Any:  # noqa: ANN401  # an iterator
    """Yield (batch of one patch, reference heights, initial heights or None), spread over the scenes, unaugmented."""
    rules = dataclasses.replace(config.rules, augment=False)
    items = CityItems(scenes, rules, config.seed)
    for number in range(config.validation_patches):
        rng = np.random.default_rng([config.seed, 13, number])
        scene = scenes[number % len(scenes)]
        pixels = round(rules.patch_size / scene.gsd)
        row, col = (int(rng.integers(length - pixels + 1)) for length in scene.dsm.shape)
        item = items.cut(scene, row, col, rng)
        if item is None:
            continue
        batch = collate([item])
        batch["z_shift"] = torch.tensor(item.transform[2, 3], dtype=torch.float64)
        area = slice(row, row + pixels), slice(col, col + pixels)
        yield batch, scene.dsm[area], None if scene.initial is None else scene.initial[area]


def fit_packed(
    net: ImpliCityNet,
    scenes: Sequence[PackedScene],
    config: CityTraining,
    settings: TrainSettings,
    context: Context | None = None,
) -> dict[str, Any]:
    """Train ``net`` from packed scenes; it ends with the best weights by validation MAE, on the CPU.

    Returns
    -------
    dict
        Provenance of JSON types: data, seed, steps, scores.

    Raises
    ------
    InputError
        No scene, a scene that is smaller than a patch, or one with too few orthos.
    """
    if not scenes:
        raise InputError("There is no scene to train from.")
    rules = dataclasses.replace(config.rules, n_images=net.config.n_images)
    config = dataclasses.replace(config, steps=settings.steps, rules=rules)
    task = CityTask(net, scenes, config)
    state = train(task, settings, context)
    take_best(task, settings)
    return {
        "data": f"{len(scenes)} scenes with a reference DSM: {', '.join(scene.name for scene in scenes)}",
        "validation_scenes": [scene.name for scene in scenes[len(scenes) - config.validation_scenes :]],
        "seed": config.seed,
        "steps": state.step,
        "batch_size": config.batch_size,
        "queries": rules.queries,
        "seconds": round(state.seconds, 1),
        "last_scores": state.history[-1] if state.history else {},
        "best_mae": state.best,
    }


def take_best(task: OccupancyTask, settings: TrainSettings) -> None:
    """Give the task's model the weights of the best checkpoint, where there is one; the model ends on the CPU."""
    best = None if settings.folder is None else task.files.best_in(settings.folder)
    task.model.cpu().eval()
    if best is not None and best.exists():
        task.model.load_state_dict(read_checkpoint(best)["model"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from a folder of packed scenes; see ``--help``."""
    options = _parser().parse_args(arguments)
    if options.finish:
        write_city_weights(options.folder, options.out)
        return
    if options.device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    scenes = read_packed(options.folder)
    rules = CityRules(patch_size=options.patch_size, queries=options.queries, z_std=options.z_std)
    config = CityTraining(
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        validation_scenes=options.validation_scenes,
        rules=rules,
    )
    steps = options.steps or measured_steps(scenes, config, options)
    net = fresh_net(options.variant, options.seed)
    provenance = fit_packed(net, scenes, config, _settings(options, steps), Console())
    provenance["pixel_size"] = scenes[0].gsd
    provenance["rules"] = dataclasses.asdict(rules)
    (options.out / "training.json").write_text(json.dumps(provenance, indent=1), encoding="utf-8")
    try:
        write_city_weights(options.out, options.out / "weights")
    except ImportError as error:
        print(
            f"Trained, but {error.name} is missing here. Elsewhere run: "
            f"python -m refbench_implicity.training.scenes {options.out} --out WEIGHTS --finish"
        )


def fresh_net(variant: Variant, seed: int) -> ImpliCityNet:
    """Return the reduced network of a variant, initialised from ``seed``."""
    return initialised(seed, lambda: build_model(small_model(variant)))


def measured_steps(scenes: Sequence[PackedScene], config: CityTraining, options: argparse.Namespace) -> int:
    """Return how many steps fit into ``options.minutes`` on this machine, by timing some on a throwaway network."""
    with tempfile.TemporaryDirectory() as folder:
        settings = dataclasses.replace(
            _settings(options, PROBE_STEPS),
            folder=Path(folder),
            max_seconds=PROBE_SECONDS,
            validate_every=0,
            log_every=1,
            resume=False,
            tensorboard=False,
        )
        quick = dataclasses.replace(config, validation_patches=0)
        fit_packed(fresh_net(options.variant, config.seed), scenes, quick, settings)
        seconds = np.genfromtxt(Path(folder) / "training.csv", delimiter=",", names=True)["seconds"]
    seconds = np.append(0.0, seconds)
    warm = len(seconds) // 3  # the first steps start the loaders and choose kernels
    per_step = (seconds[-1] - seconds[warm]) / (len(seconds) - 1 - warm)
    return max(1, int(0.9 * 60 * options.minutes / per_step))


def write_city_weights(run: Path, folder: Path) -> None:
    """Write the weights folder of a finished training: half precision, with its model card."""
    from refbench_implicity.weights import write_model

    provenance = json.loads((run / "training.json").read_text(encoding="utf-8"))
    rules = provenance.pop("rules")
    files = CheckpointFiles()
    content = read_checkpoint(next(p for p in (files.best_in(run), files.last_in(run)) if p.exists()))
    stem = content["model"].get("image_encoder.conv1.weight")
    variant = VARIANTS[0 if stem is None else stem.shape[1]]
    net = build_model(small_model(variant))
    net.load_state_dict(content["model"])
    rule = dataclasses.replace(robust_normalisation(), z_std=rules["z_std"], z_shift=rules["z_shift"])
    constants = {"patch_size": rules["patch_size"], "pixel_size": provenance.pop("pixel_size"), "threshold": 0.5}
    scores = provenance["last_scores"]
    card = (
        f"# ImpliCity-{variant}, reduced\n\nTrained by refbench from {provenance['data']}.\n\n"
        f"- seed {provenance['seed']}, {provenance['steps']} steps of {provenance['batch_size']} patches\n"
        f"- validation ({', '.join(provenance['validation_scenes'])}): best MAE {provenance['best_mae']:.3f} m"
        f", input {scores.get('input_mae', float('nan')):.3f} m, IoU {scores.get('iou', float('nan')):.4f}\n"
        "- images are scaled by their own median and interquartile range; several bands are averaged\n"
    )
    write_model(folder, net, net.config, rule, constants, provenance=provenance, card=card, half=True)


class Console:
    """Prints progress; never cancels. Stands for a ``Context`` where its packages are absent."""

    def report(self, share: float, message: str) -> None:
        """Print one line."""
        print(f"{100 * share:5.1f} %  {message}", flush=True)

    def is_cancelled(self) -> bool:
        """Return False."""
        return False


def _settings(options: argparse.Namespace, steps: int) -> TrainSettings:
    return TrainSettings(
        steps,
        options.out,
        validate_every=options.validate_every or max(1, steps // 15),
        checkpoint_every=max(1, steps // 30),
        log_every=10,
        resume=options.resume,
        max_seconds=options.minutes and 60 * options.minutes,
        device=options.device,
        workers=options.workers,
        precision=options.precision,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m refbench_implicity.training.scenes", description=__doc__)
    parser.add_argument("folder", type=Path, help="packed scenes (*.npz); the last by name validate")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", choices=VARIANTS, default="stereo")
    parser.add_argument("--steps", type=int, help="optimiser steps; without it --minutes decides")
    parser.add_argument("--minutes", type=float, help="stop after so long; without --steps the schedule is fitted")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=8, help="patches per step")
    parser.add_argument("--queries", type=int, default=8192, help="query points per patch")
    parser.add_argument("--patch-size", type=float, default=published.patch_size, help="metres")
    parser.add_argument("--z-std", type=float, default=published.z_std, help="metres per normalised height")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--validation-scenes", type=int, default=2)
    parser.add_argument("--validate-every", type=int, default=0, help="steps; 0 validates about 15 times")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--precision", default="32-true", help="Lightning's precision, such as bf16-mixed")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--finish", action="store_true", help="write the weights folder OUT of the training FOLDER")
    return parser


if __name__ == "__main__":
    main()
