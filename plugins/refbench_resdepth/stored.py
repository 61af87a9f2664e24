"""Weights on disk: a weights folder, an official run folder, or an official checkpoint with its side files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.scenes.checkpoint import read_checkpoint
from refbench.scenes.state_dict import check_state
from refbench.scenes.weights_folder import TENSORS_FILE, is_weights_folder, read_weights, write_weights
from refbench_resdepth.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench_resdepth.network import UNet
    from refbench_resdepth.scale import Scale

METHOD = "resdepth"
ARCHITECTURE_FILE = "model_config.json"
GEOM_FILE, IMAGE_FILE = "DSM_normalization_parameters.p", "Image_normalization_parameters.p"
CHECKPOINTS = "checkpoints"
PREFERRED = ("Model_best.pth", "Model_last.pth")
SETTINGS = (
    "n_input_channels", "start_kernel", "depth", "act_fn_encoder", "act_fn_decoder", "act_fn_bottleneck", "up_mode",
    "do_BN", "outer_skip", "outer_skip_BN", "bias_conv_layer",
)  # fmt: skip
"""Keys of ``settings`` in an official ``model_config.json``."""
MULTIVIEW = "geom-multiview"


@dataclass(frozen=True)
class StoredModel:
    """Tensors by published key, the architecture (None where no file says it), and constants.

    ``scale`` holds what is known of ``Scale``; ``facts`` may hold ``tile_size`` and ``gsd``.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    model: ModelConfig | None = None
    scale: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_model(path: Path) -> StoredModel:
    """Open weights.

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or the folder holds no model.
    """
    if path.name == TENSORS_FILE or is_weights_folder(path):
        return _read_folder(path)
    if path.is_dir():
        return _read_checkpoint(_preferred(path), path)
    run = next((folder for folder in (path.parent, path.parent.parent) if (folder / ARCHITECTURE_FILE).is_file()), None)
    return _read_checkpoint(path, run)


def read_architecture(path: Path) -> ModelConfig:
    """Return the network of an official ``model_config.json``.

    Raises
    ------
    MissingFileError, WeightsError
        There is no such file, it is no JSON, or names another network.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"The architecture {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}.") from error
    try:
        if content["name"] != "UNet":
            raise WeightsError(f"{path}: the model must be UNet, got {content['name']!r}.")
        return architecture(content["input_channels"], content["settings"])
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path} lacks {error}; an official {ARCHITECTURE_FILE} has it.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise WeightsError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def architecture(input_channels: str, settings: Mapping[str, Any]) -> ModelConfig:
    """Return the network of official settings; raises pydantic's ``ValidationError``."""
    values = {key: settings[key] for key in SETTINGS if key in settings and key != "n_input_channels"}
    if input_channels == MULTIVIEW:
        values["n_views"] = int(settings["n_input_channels"]) - 1
    return TypeAdapter(ModelConfig).validate_python({"input_channels": input_channels, **values})


def official_settings(model: ModelConfig) -> dict[str, Any]:
    """Return the content of an official ``model_config.json``."""
    settings = {key: getattr(model, key) for key in SETTINGS}
    return {"name": "UNet", "input_channels": model.input_channels, "settings": settings}


def read_scale(geom: Path, image: Path | None) -> dict[str, Any]:
    """Return ``dsm_std`` and, with ``image``, ``image_mean`` and ``image_std`` of the official pickles.

    Raises
    ------
    WeightsError
        A pickle wants to run code, or holds other keys.
    """
    values = {"dsm_std": _number(geom, "std")}
    if image is not None:
        mean = read_checkpoint(image).get("mean")
        values |= {"image_rule": "fixed", "image_std": _number(image, "std")}
        values["image_mean"] = None if mean is None else float(mean)
    return values


def fill_model(net: UNet, stored: StoredModel) -> None:
    """Copy the stored tensors into ``net``; raises ``WeightsError`` where they do not fit."""
    check_state(net.state_dict(), stored.tensors, stored.path, "give weights of this architecture")
    net.load_state_dict(dict(stored.tensors))


def write_model(
    folder: Path,
    net: UNet,
    scale: Scale,
    facts: Mapping[str, Any],
    *,
    provenance: Mapping[str, Any],
    card: str,
    half: bool = False,
) -> None:
    """Write a weights folder; ``half`` stores float16."""
    tensors = {
        key: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().numpy()
        for key, tensor in net.state_dict().items()
    }
    meta = {
        "refbench_weights": 1,
        "method": METHOD,
        "model": dataclasses.asdict(net.config),
        "normalisation": scale.as_dict(),
        **facts,
        "provenance": dict(provenance),
    }
    write_weights(folder, tensors, meta, card)


def _read_folder(path: Path) -> StoredModel:
    folder = read_weights(path)
    meta = folder.meta
    if meta.get("method") != METHOD:
        raise WeightsError(f"{path} holds weights of {meta.get('method', 'an unnamed method')}, not ResDepth.")
    try:
        model = TypeAdapter(ModelConfig).validate_python(meta.get("model"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise WeightsError(f"{path / 'model.yaml'}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    tensors = {name: _tensor(array) for name, array in folder.tensors().items()}
    facts = {key: meta[key] for key in ("tile_size", "gsd") if key in meta}
    return StoredModel(folder.path, tensors, model, meta.get("normalisation") or {}, facts)


def _read_checkpoint(path: Path, run: Path | None) -> StoredModel:
    content = read_checkpoint(path)
    state = content.get("model_state_dict", content)
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} has no 'model_state_dict'; an official ResDepth checkpoint has.")
    model, scale = None, {}
    if run is not None:
        model = read_architecture(run / ARCHITECTURE_FILE)
        geom, image = run / GEOM_FILE, run / IMAGE_FILE
        if geom.is_file():
            scale = read_scale(geom, image if image.is_file() else None)
    tensors = {str(k): v.float() if v.is_floating_point() else v for k, v in state.items()}
    return StoredModel(path, tensors, model, scale)


def _preferred(folder: Path) -> Path:
    for place in (folder / CHECKPOINTS, folder):
        files = sorted(place.glob("*.pth"))
        for name in PREFERRED:
            if place / name in files:
                return place / name
        if len(files) == 1:
            return files[0]
    raise MissingFileError(
        f"{folder} is neither a weights folder nor an official run folder: "
        f"it holds no {CHECKPOINTS}/{PREFERRED[0]}; name the checkpoint itself."
    )


def _number(path: Path, key: str) -> float:
    value = read_checkpoint(path).get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise WeightsError(f"{path} must hold a number under {key!r}, got {value!r}.")
    return float(value)


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array))
    return tensor.float() if tensor.is_floating_point() else tensor
