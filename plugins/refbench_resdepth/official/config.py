"""Official configuration files (JSON) of training and inference: every key, its type and its default.

Where the official reader crashes on what its own README calls optional, the default is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from refbench.contracts.errors import ConfigError
from refbench.files.json_text import parse_json
from refbench.files.typed_config import typed_config
from refbench_resdepth.config import Activation, Inputs, UpMode  # noqa: TC001  # pydantic reads the annotations

if TYPE_CHECKING:
    from pathlib import Path


Strategy = Literal["5-crossval_vertical", "5-crossval_horizontal", "entire"]
STRIPED_KEYS = ("allocation_strategy", "test_stripe")
"""Keys that ``general`` may hold as defaults of the data sets; the official inference refuses them there."""
STEP_SIZE = 200
"""Of StepLR where the file gives none, as in the published template."""


@dataclass(frozen=True)
class InferenceDataset:
    """One raster to refine."""

    raster_in: str
    name: str | None = None
    raster_gt: str | None = None
    path_image_list: str | None = None
    path_pairlist: str | None = None
    mask_ground_truth: str | None = None
    mask_building: str | None = None
    mask_water: str | None = None
    mask_forest: str | None = None
    allocation_strategy: Strategy | None = None
    test_stripe: int | None = None
    area_type: Literal["train", "val", "test"] | None = None
    crossval_training: bool = False


@dataclass(frozen=True)
class InferenceModel:
    """Files of the trained model."""

    weights: str
    architecture: str
    normalization_geom: str
    normalization_image: str | None = None


@dataclass(frozen=True)
class InferenceGeneral:
    """Tile size, and defaults of the data sets."""

    tile_size: int = 256
    workers: int | None = None
    allocation_strategy: Strategy = "entire"
    test_stripe: int | None = None


@dataclass(frozen=True)
class InferenceOutput:
    """Where the official output tree goes."""

    directory: str


@dataclass(frozen=True)
class OfficialInference:
    """An inference configuration."""

    datasets: list[InferenceDataset]
    model: InferenceModel
    output: InferenceOutput
    general: InferenceGeneral = field(default_factory=InferenceGeneral)


@dataclass(frozen=True)
class TrainingDataset:
    """One raster to train on."""

    raster_in: str
    raster_gt: str
    area_type: Literal["train", "val", "train+val"]
    name: str | None = None
    path_image_list: str | None = None
    path_pairlist_training: str | None = None
    path_pairlist_validation: str | None = None
    n_training_samples: int | None = None
    allocation_strategy: Strategy | None = None
    test_stripe: int | None = None
    crossval_training: bool = False


@dataclass(frozen=True)
class TrainingModel:
    """The network."""

    name: Literal["UNet"] = "UNet"
    input_channels: Inputs = "geom-stereo"
    depth: int = 5
    start_kernel: int = 64
    act_fn_encoder: Activation = "relu"
    act_fn_decoder: Activation = "relu"
    act_fn_bottleneck: Activation = "relu"
    up_mode: UpMode = "transpose"
    do_BN: bool = True
    bias_conv_layer: bool = True
    outer_skip: bool = True
    outer_skip_BN: bool = False
    pretrained_path: str | None = None


@dataclass(frozen=True)
class Multiview:
    """How many images a multi-view network takes."""

    config: Literal["3-view", "4-view", "5-view"] = "3-view"


@dataclass(frozen=True)
class StereopairSettings:
    """How pairs are used in training."""

    use_all_stereo_pairs: bool = True
    permute_images_within_pair: bool = True


@dataclass(frozen=True)
class TrainingSettings:
    """Samples, tiles, epochs."""

    n_training_samples: int = 20000
    tile_size: int = 256
    augment: bool = True
    batch_size: int = 20
    n_epochs: int = 2000
    loss: Literal["L1"] = "L1"


@dataclass(frozen=True)
class Optimizer:
    """The optimiser."""

    name: Literal["Adam", "SGD"] = "Adam"
    learning_rate: float = 2e-4
    weight_decay: float = 1e-5


@dataclass(frozen=True)
class Scheduler:
    """The schedule of the learning rate; ``settings`` are keyword arguments of torch's."""

    enabled: bool = True
    name: Literal["ReduceLROnPlateau", "StepLR", "ExponentialLR"] = "StepLR"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingGeneral:
    """Defaults of the data sets, and rhythm in epochs."""

    allocation_strategy: Strategy = "5-crossval_vertical"
    test_stripe: int = 0
    workers: int = 4
    random_seed: int = 0
    save_model_rate: int = 20
    evaluate_rate: int = 1


@dataclass(frozen=True)
class TrainingOutput:
    """Where the run folder and the curves go."""

    output_directory: str
    tboard_log_dir: str
    suffix: str = ""
    plot_model_txt: bool = False


@dataclass(frozen=True)
class OfficialTraining:
    """A training configuration."""

    datasets: list[TrainingDataset]
    output: TrainingOutput
    model: TrainingModel = field(default_factory=TrainingModel)
    multiview: Multiview = field(default_factory=Multiview)
    stereopair_settings: StereopairSettings = field(default_factory=StereopairSettings)
    training_settings: TrainingSettings = field(default_factory=TrainingSettings)
    optimizer: Optimizer = field(default_factory=Optimizer)
    scheduler: Scheduler = field(default_factory=Scheduler)
    general: TrainingGeneral = field(default_factory=TrainingGeneral)


def read_official(path: Path) -> OfficialInference | OfficialTraining | None:
    """Return an official configuration, None for any other file.

    Raises
    ------
    ConfigError
        An unknown, missing or ill-typed key, or keys that contradict each other: the file and the key are named.
    """
    content = read_json(path)
    if content is None or not isinstance(content.get("datasets"), list):
        return None
    output = content.get("output")
    if not isinstance(output, dict) or not {"directory", "output_directory", "tboard_log_dir"} & output.keys():
        return None
    if "directory" in output:
        inference = typed_config(OfficialInference, content, str(path))
        _check_inference(inference, path)
        return inference
    training = typed_config(OfficialTraining, content, str(path))
    _check_training(training, path)
    return training


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, None where there is none."""
    if path.suffix not in (".json", ".orig") or not path.is_file():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    return content if isinstance(content, dict) else None


def dataset_name(dataset: InferenceDataset | TrainingDataset, index: int) -> str:
    """Return the name of a data set, or ``dataset_<index>`` by its place in the list."""
    return dataset.name or f"dataset_{index}"


def _check_inference(config: OfficialInference, path: Path) -> None:
    names = [dataset_name(dataset, index) for index, dataset in enumerate(config.datasets)]
    if not names:
        raise ConfigError(f"{path}: datasets is empty; list at least one.")
    for index, (name, dataset) in enumerate(zip(names, config.datasets, strict=True)):
        where = f"{path}: datasets[{index}]"
        if name in names[:index] or "/" in name or name in (".", ".."):
            raise ConfigError(f"{where}.name {name!r} must be a unique folder name.")
        if (dataset.path_image_list is None) != (dataset.path_pairlist is None):
            raise ConfigError(f"{where}: path_image_list and path_pairlist must be given together.")
        if strategy_of(dataset, config) == "entire":
            continue
        if dataset.area_type is None or stripe_of(dataset, config) is None:
            raise ConfigError(f"{where}: stripes need area_type (train, val, test) and test_stripe (0 to 4).")


def _check_training(config: OfficialTraining, path: Path) -> None:
    if not config.datasets:
        raise ConfigError(f"{path}: datasets is empty; list at least one.")
    if config.model.input_channels == "stereo" and config.model.outer_skip:
        raise ConfigError(f"{path}: model.input_channels stereo has no DSM channel; set model.outer_skip to false.")
    for index, dataset in enumerate(config.datasets):
        where = f"{path}: datasets[{index}]"
        if dataset.crossval_training and len(config.datasets) > 1:
            raise ConfigError(f"{where}: crossval_training needs exactly one data set, there are several.")
        if config.model.input_channels == "geom":
            continue
        needed = ["path_image_list"]
        needed += ["path_pairlist_training"] if "train" in dataset.area_type else []
        needed += ["path_pairlist_validation"] if "val" in dataset.area_type else []
        for key in needed:
            if getattr(dataset, key) is None:
                raise ConfigError(f"{where}.{key} is missing; {config.model.input_channels} needs images.")
    size, smallest = config.training_settings.tile_size, 2 ** (config.model.depth + 2)
    if size < smallest or size & (size - 1):
        raise ConfigError(f"{path}: training_settings.tile_size must be a power of two from {smallest}, got {size}.")


def strategy_of(dataset: InferenceDataset, config: OfficialInference) -> str:
    """Return the allocation strategy of a data set: its own, else the global one."""
    return dataset.allocation_strategy or config.general.allocation_strategy


def stripe_of(dataset: InferenceDataset, config: OfficialInference) -> int | None:
    """Return the test stripe of a data set: its own, else the global one."""
    return dataset.test_stripe if dataset.test_stripe is not None else config.general.test_stripe
