"""Files of an official model beside its checkpoint: architecture and scales. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.files.json_text import parse_json
from refbench.weights.checkpoint import read_pickle
from refbench_resdepth.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARCHITECTURE_FILE = "model_config.json"
GEOM_FILE, IMAGE_FILE = "DSM_normalization_parameters.p", "Image_normalization_parameters.p"
SETTINGS = (
    "n_input_channels", "start_kernel", "depth", "act_fn_encoder", "act_fn_decoder", "act_fn_bottleneck", "up_mode",
    "do_BN", "outer_skip", "outer_skip_BN", "bias_conv_layer",
)  # fmt: skip
"""Keys of ``settings`` in an official ``model_config.json``."""
MULTIVIEW = "geom-multiview"


def read_architecture(path: Path) -> ModelConfig:
    """Return the network of an official ``model_config.json``.

    Raises
    ------
    MissingFileError, WeightsError
        There is no such file, it is no JSON, or names another network.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
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
    values: dict[str, Any] = {"dsm_std": _number(geom, "std")}
    if image is not None:
        mean = read_pickle(image).get("mean")
        values |= {"image_rule": "fixed", "image_std": _number(image, "std")}
        values["image_mean"] = None if mean is None else float(mean)
    return values


def _number(path: Path, key: str) -> float:
    value = read_pickle(path).get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise WeightsError(f"{path} must hold a number under {key!r}, got {value!r}.")
    return float(value)
