"""Official ResDepth files: configurations, run folders and output trees, in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench_resdepth.config import VIEWS, ModelConfig
from refbench_resdepth.official.config import (
    STEP_SIZE,
    OfficialInference,
    OfficialTraining,
    dataset_name,
    read_official,
)

if TYPE_CHECKING:
    from refbench import Scene


def read_config(path: Path) -> dict[str, Any] | None:
    """Return the translation of an official configuration of training or inference, None for any other file.

    Returns
    -------
    dict
        ``config``: nested values of ``ResDepthConfig``; ``notes``: sentences on what was assumed.

    Raises
    ------
    ConfigError
        An unknown or ill-typed key.
    InputError
        A file of the model that it names is missing or damaged.
    """
    path = Path(path)
    official = read_official(path)
    if official is None:
        return None
    values = _inference(official) if isinstance(official, OfficialInference) else _training(official)
    return {"config": {**values, "official": str(path.absolute())}, "notes": []}


def scene_names(path: Path) -> tuple[str, ...]:
    """Return the data sets that an inference configuration lists."""
    official = _inference_of(path)
    return tuple(dataset_name(dataset, index) for index, dataset in enumerate(official.datasets))


def scene_from_config(path: Path, name: str | None = None) -> Scene:
    """Return one data set of an inference configuration as a scene, by default the first."""
    from refbench_resdepth.official.model import read_architecture
    from refbench_resdepth.official.scene import official_scene

    official = _inference_of(path)
    return official_scene(official, name, read_architecture(Path(official.model.architecture)).n_images)


def write_outputs(path: Path, name: str | None, folder: Path) -> list[str]:
    """Write the official output tree of a result folder to the configuration's own ``output.directory``."""
    from refbench_resdepth.official.tree import write_tree

    return write_tree(_inference_of(path), Path(path), name, Path(folder))


def import_weights(source: Path, folder: Path) -> dict[str, Any]:
    """Turn an official run folder, or a checkpoint in one, into a weights folder; return notes for the user.

    Raises
    ------
    MissingFileError
        There is no checkpoint, or no ``model_config.json`` beside it.
    WeightsError
        A file is damaged, wants to run code, or has another architecture.
    """
    from refbench_resdepth.method import ResDepth
    from refbench_resdepth.official.model import ARCHITECTURE_FILE
    from refbench_resdepth.weights import read_model, trained_model

    source = Path(source)
    stored = read_model(source)
    if stored.model is None:
        raise MissingFileError(f"{source} lies in no official run folder: there is no {ARCHITECTURE_FILE} beside it.")
    method = ResDepth(None, source)
    if (size := _trained_tile_size(source)) is not None:
        method.facts["tile_size"] = size
    card = (
        f"# ResDepth ({method.model.input_channels}), imported\n\n"
        f"From the official checkpoint {stored.path.name}. Images are scaled by the constants of its training: on "
        "images of another sensor or another bit depth the result degrades badly.\n"
    )
    assert method.scale is not None  # it came with the weights
    origin = {"source": stored.path.name}
    trained_model(method.net, method.scale, method.facts, provenance=origin, card=card).save(Path(folder))
    parameters = sum(parameter.numel() for parameter in method.net.parameters())
    return {"inputs": method.model.input_channels, "parameters": parameters, **method.facts}


def _inference_of(path: Path) -> OfficialInference:
    official = read_official(Path(path))
    if not isinstance(official, OfficialInference):
        raise ConfigError(f"{path} is a training configuration; refbench run needs an inference one.")
    return official


def _inference(official: OfficialInference) -> dict[str, Any]:
    from refbench_resdepth.official.model import read_architecture, read_scale

    files = official.model
    model = read_architecture(Path(files.architecture))
    image = None if files.normalization_image is None else Path(files.normalization_image)
    if model.n_images and image is None:
        raise ConfigError(f"model.normalization_image is missing; {model.input_channels} needs it.")
    return {
        "model": asdict(model),
        "normalisation": read_scale(Path(files.normalization_geom), image),
        "inference": {"tile_size": official.general.tile_size},
        "weights": files.weights,
    }


def _training(official: OfficialTraining) -> dict[str, Any]:
    section = official.model
    names = {field for field in ModelConfig.__dataclass_fields__ if hasattr(section, field)}
    model = {name: getattr(section, name) for name in names} | {"n_views": VIEWS[official.multiview.config]}
    scheduler = asdict(official.scheduler)
    if scheduler["name"] == "StepLR":
        scheduler["settings"].setdefault("step_size", STEP_SIZE)
    general = official.general
    training = asdict(official.training_settings) | asdict(official.stereopair_settings)
    training |= {"optimizer": asdict(official.optimizer), "scheduler": scheduler}
    training |= {key: getattr(general, key) for key in ("workers", "save_model_rate", "evaluate_rate")}
    return {"model": model, "training": training}


def _trained_tile_size(source: Path) -> int | None:
    """Return the tile size in the training configuration of a run folder."""
    folders = (source, source.parent, source.parent.parent)
    for file in (folder / "config.json" for folder in folders):
        if not file.is_file():
            continue
        from refbench_resdepth.official.config import read_json

        size = ((read_json(file) or {}).get("training_settings") or {}).get("tile_size")
        if isinstance(size, int):
            return size
    return None
