"""What the plugin offers for official ResDepth files; see ``refbench.contracts.official``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.contracts.official import NoOfficialFiles, OfficialConfig
from refbench_resdepth.config import VIEWS, ModelConfig, NormalisationConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench import Scene
    from refbench_resdepth.official.config import OfficialInference, OfficialTraining


class Files(NoOfficialFiles):
    """Configurations of training and inference, the data sets and output trees of the latter, checkpoints."""

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Return the translation of an official configuration of training or inference, None for any other file."""
        from refbench_resdepth.official.config import OfficialInference, read_official

        official = read_official(path)
        if official is None:
            return None
        values = _inference(official) if isinstance(official, OfficialInference) else _training(official)
        return OfficialConfig(path, {**values, "official": str(path.absolute())}, parsed=official)

    def scene_names(self, config: OfficialConfig) -> tuple[str, ...]:
        """Return the data sets that an inference configuration lists."""
        from refbench_resdepth.official.config import dataset_name

        datasets = _inference_of(config).datasets
        return tuple(dataset_name(dataset, index) for index, dataset in enumerate(datasets))

    def scene_from_config(self, config: OfficialConfig, name: str | None = None) -> Scene | None:
        """Return one data set of an inference configuration as a scene, by default the first."""
        from refbench_resdepth.official.model import read_architecture
        from refbench_resdepth.official.scene import official_scene

        official = _inference_of(config)
        return official_scene(official, name, read_architecture(Path(official.model.architecture)).n_images)

    def write_outputs(self, config: OfficialConfig, name: str | None, folder: Path) -> list[str]:
        """Write the official output tree of a result folder to the configuration's own ``output.directory``."""
        from refbench_resdepth.official.tree import write_tree

        return write_tree(_inference_of(config), config.path, name, folder)

    def import_weights(self, source: Path, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Turn an official run folder, or a checkpoint in one, into a weights folder.

        Raises
        ------
        MissingFileError
            There is no checkpoint, or no ``model_config.json`` beside it.
        WeightsError
            A file is damaged, wants to run code, or has another architecture.
        """
        del options
        from refbench_resdepth.official.model import ARCHITECTURE_FILE
        from refbench_resdepth.scale import resolve_scale
        from refbench_resdepth.weights import FACTS, filled_network, read_model, trained_model

        stored = read_model(source)
        if (model := stored.model) is None:
            raise MissingFileError(
                f"{source} lies in no official run folder: there is no {ARCHITECTURE_FILE} beside it."
            )
        net = filled_network(stored)
        scale = resolve_scale(NormalisationConfig(), stored.meta.get("normalisation") or {}, images=model.n_images > 0)
        facts = stored.facts(*FACTS)
        if (size := _trained_tile_size(source)) is not None:
            facts["tile_size"] = size
        card = (
            f"# ResDepth ({model.input_channels}), imported\n\n"
            f"From the official checkpoint {stored.path.name}. Images are scaled by the constants of its training: on "
            "images of another sensor or another bit depth the result degrades badly.\n"
        )
        trained_model(net, scale, facts, provenance={"source": stored.path.name}, card=card).save(folder)
        return {"inputs": model.input_channels, "parameters": sum(p.numel() for p in net.parameters()), **facts}


def _inference_of(config: OfficialConfig) -> OfficialInference:
    from refbench_resdepth.official.config import OfficialInference

    official = config.parsed
    if not isinstance(official, OfficialInference):
        raise ConfigError(f"{config.path} is a training configuration; refbench run needs an inference one.")
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
    from refbench_resdepth.official.config import STEP_SIZE

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
