"""Weights on disk: a weights folder, or an official checkpoint, with what it knows of its network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import WeightsError
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.state_dict import check_state
from refbench.weights.weights_folder import TENSORS_FILE, read_weights, write_weights
from refbench_implicity.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from refbench_implicity.normalise import Normalisation

METHOD = "implicity"
ALIAS = ".downsample.0.", ".bn4."
"""The same module under two names in the published state dicts."""


@dataclass(frozen=True)
class StoredModel:
    """Tensors by published key, the architecture (None where the file does not say), and the constants it carries.

    ``constants`` may hold ``normalisation`` (a mapping), ``patch_size``, ``pixel_size`` and ``threshold``.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    model: ModelConfig | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)


def read_model(path: Path) -> StoredModel:
    """Open weights: a folder (or its tensors' file), or an official checkpoint (``.pt``).

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or the folder lacks one.
    """
    if path.is_dir() or path.name == TENSORS_FILE:
        folder = read_weights(path)
        if folder.meta.get("method") != METHOD:
            raise WeightsError(
                f"{path} holds weights of {folder.meta.get('method', 'an unnamed method')}, not ImpliCity."
            )
        model = _architecture(path, folder.meta.get("model"))
        tensors = {name: _as_float32(array) for name, array in folder.tensors().items()}
        return StoredModel(folder.path, tensors, model, folder.meta)
    content = read_checkpoint(path)
    state = content.get("model", content)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()) or not state:
        raise WeightsError(f"{path} has no state dict under 'model'; an official ImpliCity checkpoint has.")
    return StoredModel(path, {str(name): tensor.float() for name, tensor in state.items()})


def published_architecture(stored: StoredModel) -> ModelConfig:
    """Return the published network of the variant that the keys of a checkpoint belong to."""
    stem = stored.tensors.get("image_encoder.conv1.weight")
    return ModelConfig.of_variant("0" if stem is None else ("mono" if stem.shape[1] == 1 else "stereo"))


def fill_model(net: nn.Module, stored: StoredModel) -> None:
    """Copy the stored tensors into ``net``; either name of an aliased module is enough.

    Raises
    ------
    WeightsError
        A tensor is missing, has another shape, or belongs to no part of the network.
    """
    expected = net.state_dict()
    given = dict(stored.tensors)
    for key in expected:
        for name, other in (ALIAS, ALIAS[::-1]):
            if key not in given and name in key and (twin := key.replace(name, other)) in given:
                given[key] = given[twin]
    hint = "give weights of this architecture, or its --config (import-weights: --option config=FILE)"
    check_state(expected, given, stored.path, hint)
    net.load_state_dict({key: given[key] for key in expected})


def write_model(
    folder: Path,
    net: nn.Module,
    model: ModelConfig,
    normalisation: Normalisation,
    constants: Mapping[str, float],
    *,
    provenance: Mapping[str, Any],
    card: str,
    half: bool = False,
) -> None:
    """Write a weights folder; ``half`` stores float16. Aliased tensors are written once."""
    tensors = {
        key: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().numpy()
        for key, tensor in net.state_dict().items()
        if ALIAS[0] not in key
    }
    meta = {
        "refbench_weights": 1,
        "method": METHOD,
        "variant": model.variant,
        "model": dataclasses.asdict(model),
        "normalisation": normalisation.as_dict(),
        **constants,
        "provenance": dict(provenance),
    }
    write_weights(folder, tensors, meta, card)


def _architecture(path: Path, values: object) -> ModelConfig:
    try:
        return TypeAdapter(ModelConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, ("model", *first["loc"])))
        raise WeightsError(f"{path / 'model.yaml'}: {where}: {first['msg']}.") from error


def _as_float32(array: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).float()
