"""Training ImpliCity: as published from chunk data sets, or from scenes with a reference DSM.

``python -m refbench_implicity.training.scenes FOLDER --variant stereo --steps 5000 --out OUT`` trains from packed
scenes (``city_items.pack_scene``) on a machine that has torch, numpy, lightning-fabric, PyYAML and safetensors only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.contracts.errors import InputError
from refbench.training.learnt import take_best
from refbench.training.loop import train
from refbench.training.schedules import CosineFraction
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
from refbench_implicity.weights import trained_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench.training.loop import Observer


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
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, CosineFraction(config.steps))
        self.surface, self.rules = SurfaceConfig(h_range=config.rules.search_range), config.rules
        self.checks = list(validation_patches(check_on, config))

    def validate(self, device: torch.device) -> dict[str, float]:
        """Return loss and metrics of the queries, and MAE of the DSM and of the input DSM in metres."""
        rows = [
            self._check(on_device(batch, device), batch, reference, initial)
            for batch, reference, initial in self.checks
        ]
        return mean_scores(rows)

    def _check(self, batch: Batch, held: Batch, reference: np.ndarray, initial: np.ndarray | None) -> dict[str, float]:
        scores = self.evaluate_batch(batch)
        planes, _ = self.forward(batch)
        z_std, shift = self.rules.z_std, float(held["z_shift"])
        found = extract_surface(
            self.model, planes, reference.shape, self.surface, z_std=z_std, threshold=self.threshold
        ).metres(z_std, shift, fill_empty=True)
        known = np.isfinite(reference) & (True if initial is None else np.isfinite(initial))
        scores["mae"] = float(np.abs(found - reference)[known].mean())
        if initial is not None:
            scores["input_mae"] = float(np.abs(initial - reference)[known].mean())
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
    context: Observer | None = None,
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
    net = initialised(options.seed, lambda: build_model(small_model(options.variant)))
    provenance = fit_packed(net, scenes, config, _settings(options), Console())
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


def write_city_weights(run: Path, folder: Path) -> None:
    """Write the weights folder of a finished training: half precision, with its model card."""
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
    trained_model(net, rule, constants, provenance=provenance, card=card).save(folder, half=True)


class Console:
    """Prints progress; never cancels. Stands for a ``Context`` where its packages are absent."""

    def report(self, fraction: float, message: str) -> None:
        """Print one line."""
        print(f"{100 * fraction:5.1f} %  {message}", flush=True)

    def is_cancelled(self) -> bool:
        """Return False."""
        return False


def _settings(options: argparse.Namespace) -> TrainSettings:
    steps: int = options.steps
    return TrainSettings(
        steps,
        options.out,
        validate_every=options.validate_every or max(1, steps // 15),
        checkpoint_every=max(1, steps // 30),
        log_every=10,
        resume=options.resume,
        device=options.device,
        workers=options.workers,
        precision=options.precision,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m refbench_implicity.training.scenes", description=__doc__)
    parser.add_argument("folder", type=Path, help="packed scenes (*.npz); the last by name validate")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", choices=VARIANTS, default="stereo")
    parser.add_argument("--steps", type=int, default=5000, help="optimiser steps")
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
    parser.add_argument("--precision", choices=["float32", "mixed"], default="float32")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--finish", action="store_true", help="write the weights folder OUT of the training FOLDER")
    return parser


if __name__ == "__main__":
    main()
