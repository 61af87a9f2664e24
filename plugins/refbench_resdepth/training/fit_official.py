"""Training as published: from an official configuration to an official run folder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError
from refbench.files.atomic import atomic_file
from refbench.formats.raster import open_dsm
from refbench.training.learnt import Trained, raster_budget, take_best
from refbench.training.loop import train
from refbench.training.run_folder import official_run_folder
from refbench.training.settings import TrainSettings
from refbench_resdepth.official.checkpoints import write_side_files
from refbench_resdepth.official.config import OfficialTraining, dataset_name, read_json, read_official
from refbench_resdepth.official.model import GEOM_FILE, IMAGE_FILE
from refbench_resdepth.official.scene import ImageTuples, aligned_image, check_grid, image_tuples
from refbench_resdepth.regions import allocate
from refbench_resdepth.scale import Scale
from refbench_resdepth.training.samples import Area, Cutter, EpochBatches, GridSamples, TrainSamples
from refbench_resdepth.training.statistics import height_scale, image_statistics, input_error
from refbench_resdepth.training.task import FILES, ResDepthTask
from refbench_resdepth.weights import trained_model

if TYPE_CHECKING:
    from refbench import Context
    from refbench.formats.memory_budget import MemoryBudget
    from refbench_resdepth.config import ModelConfig, ResDepthConfig
    from refbench_resdepth.network.network import UNet
    from refbench_resdepth.official.config import TrainingDataset


def fit_official(
    net: UNet,
    config: ResDepthConfig,
    context: Context,
    *,
    steps: int | None,
    folder: Path | None,
    resume: bool,
) -> Trained:
    """Train ``net`` in place on the data sets of the official configuration; return it with its provenance.

    The run folder with checkpoints and side files goes to the configuration's ``output.output_directory``.

    Raises
    ------
    ConfigError
        The configuration is not one of training.
    InputError
        A file is missing, rasters do not lie on one grid, or there are fewer positions than samples.
    """
    path = Path(str(config.official))
    official = read_official(path)
    if not isinstance(official, OfficialTraining):
        raise ConfigError(f"{path} is an inference configuration; refbench train needs a training one.")
    training, seed, model = config.training, official.general.random_seed, net.config
    tile = official.training_settings.tile_size
    areas = _Areas(official, model, raster_budget(context))
    draft = TrainSamples(areas.train, Cutter(model, Scale(1.0), tile), training, seed)
    mean, std = image_statistics(areas.train) if model.n_images else (None, None)
    scale = Scale(height_scale(areas.train, draft.positions, tile), "fixed", mean, std)
    cutter = Cutter(model, scale, tile)
    batches = EpochBatches(TrainSamples(areas.train, cutter, training, seed), training.batch_size)
    task = ResDepthTask(net, batches, training, GridSamples(areas.validation, cutter))
    run = _run_folder(official, folder, resume)
    start, more = None, training.n_epochs * batches.per_epoch
    if official.model.pretrained_path is not None and not resume:
        start = task.read(Path(official.model.pretrained_path))
    total = (start.step if start is not None else 0) + (more if steps is None else steps)
    _write_run(run, path, official, net, scale, areas)
    settings = TrainSettings(
        total,
        run,
        log_folder=Path(official.output.tboard_log_dir) / run.name,
        validate_every=batches.per_epoch * training.evaluate_rate,
        checkpoint_every=batches.per_epoch,
        backup_every=batches.per_epoch * training.save_model_rate,
        log_every=min(20, batches.per_epoch),
        resume=resume,
        device=context.device,
        workers=training.workers,
        precision=training.precision,
    )
    state = train(task, settings, context, start)
    take_best(task, settings)
    provenance = {
        "data": [dataset_name(dataset, index) for index, dataset in enumerate(official.datasets)],
        "official_run_folder": str(run),
        "seed": seed,
        "epochs": task.epochs(state.step),
        "steps": state.step,
        "best_validation_mae": state.best,
        "input_validation_mae": input_error(task.validation),
    }
    return trained_model(task.model, scale, {"tile_size": tile}, provenance=provenance)


class _Areas:
    """The areas of an official configuration, and what its merged form says of them."""

    def __init__(self, official: OfficialTraining, model: ModelConfig, budget: MemoryBudget) -> None:
        self.train: list[Area] = []
        self.validation: list[Area] = []
        self.merged: list[dict[str, Any]] = []
        for index, dataset in enumerate(official.datasets):
            self._add(official, dataset, index, model, budget)
        if not self.train:
            raise ConfigError("No data set has an area_type with train.")
        if not self.validation:
            raise ConfigError("No data set has an area_type with val.")

    def _add(
        self, official: OfficialTraining, dataset: TrainingDataset, index: int, model: ModelConfig, budget: MemoryBudget
    ) -> None:
        dsm, reference = open_dsm(Path(dataset.raster_in)), open_dsm(Path(dataset.raster_gt))
        check_grid(reference.grid, dsm.grid, Path(dataset.raster_gt))
        general = official.general
        strategy = dataset.allocation_strategy or general.allocation_strategy
        stripe = general.test_stripe if dataset.test_stripe is None else dataset.test_stripe
        regions = allocate(*dsm.grid.shape, strategy, stripe, crossval=dataset.crossval_training)
        samples = dataset.n_training_samples or official.training_settings.n_training_samples
        merged: dict[str, Any] = {
            "n_training_samples": samples,
            "allocation_strategy": strategy,
            "test_stripe": stripe,
            "crossval_training": dataset.crossval_training,
        }
        whole = Area(dataset_name(dataset, index), budget.hold(dsm), budget.hold(reference), {}, ((),), ())
        held: dict[Path, Any] = {}
        for part, key in (("train", "training"), ("val", "validation")):
            if part not in dataset.area_type:
                continue
            listed = image_tuples(dataset.path_image_list, getattr(dataset, f"path_pairlist_{key}"), model.n_images)
            images = {}
            for names, chosen in zip(listed.named_tuples, listed.tuples, strict=True):
                for name, number in zip(names, chosen, strict=True):
                    file = listed.files[number]
                    held.setdefault(file, budget.hold(aligned_image(file, dsm.grid)))
                    images[name] = held[file]
            area = dataclasses.replace(
                whole,
                images=images,
                tuples=listed.named_tuples or ((),),
                extents=regions[part],
                n_samples=samples,
            )
            (self.train if part == "train" else self.validation).append(area)
            merged |= _merged_part(part, listed, regions[part])
        self.merged.append(merged)


def _merged_part(part: str, listed: ImageTuples, extents: Any) -> dict[str, Any]:  # noqa: ANN401  # Extents
    values: dict[str, Any] = {
        f"area_defn_{part}": {
            "x_extent": [[e.x_first, e.x_last] for e in extents],
            "y_extent": [[e.y_first, e.y_last] for e in extents],
        }
    }
    if listed.tuples:
        values["image_list"] = [str(file) for file in listed.files]
        values[f"image_pairs_{part}"] = [list(chosen) for chosen in listed.tuples]
    return values


def _run_folder(official: OfficialTraining, folder: Path | None, resume: bool) -> Path:
    """Return the official run folder: a new one named by the time, or the one that is resumed."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M")
    name = f"{stamp}_{official.output.suffix}" if official.output.suffix else stamp
    run = official_run_folder(Path(official.output.output_directory) / name, folder, resume)
    (run / FILES.folder).mkdir(exist_ok=True)
    return run


def _write_run(run: Path, path: Path, official: OfficialTraining, net: UNet, scale: Scale, areas: _Areas) -> None:
    """Write what an official run folder holds beside its checkpoints."""
    model = net.config
    write_side_files(run, model, scale)
    with atomic_file(run / "config.json.orig") as file:
        file.write(path.read_bytes())
    merged = asdict(official)
    given = read_json(path) or {}
    for index, facts in enumerate(areas.merged):
        merged["datasets"][index] = {**given["datasets"][index], **facts}
    if model.input_channels != "geom-multiview":
        merged.pop("multiview")
    if official.model.pretrained_path is None:
        merged["model"].pop("pretrained_path")
    merged["output"] |= {
        "output_directory": str(run),
        "checkpoint_dir": str(run / FILES.folder),
        "dsm_normalization": str(run / GEOM_FILE),
        "tboard_log_dir": str(Path(official.output.tboard_log_dir) / run.name),
    }
    if model.n_images:
        merged["output"]["satellite_image_normalization"] = str(run / IMAGE_FILE)
    with atomic_file(run / "config.json") as file:
        file.write(json.dumps(merged, indent=2).encode())
    if official.output.plot_model_txt:
        parameters = sum(parameter.numel() for parameter in net.parameters())
        with atomic_file(run / "model_parameters.txt") as file:
            file.write(f"{net}\n\nParameters: {parameters}\n".encode())
