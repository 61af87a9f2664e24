"""Weights on disk: a weights folder, or an official checkpoint, with what it knows of its network."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from refbench.contracts.errors import WeightsError
from refbench.training.learnt import StoredModel, Trained, in_float32, is_stored_folder, read_stored
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.state_dict import check_state
from refbench_implicity.config import ModelConfig
from refbench_implicity.network.network import ImpliCityNet, build_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench_implicity.normalise import Normalisation

METHOD = "implicity"
ALIAS = ".downsample.0.", ".bn4."
"""The same module under two names in the published state dicts."""

Stored: TypeAlias = StoredModel[ModelConfig]
"""Its ``meta`` may hold ``normalisation`` (a mapping), ``patch_size``, ``pixel_size`` and ``threshold``."""


def read_model(path: Path) -> Stored:
    """Open weights: a folder (or its tensors' file), or an official checkpoint (``.pt``).

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or the folder lacks one.
    """
    if path.is_dir() or is_stored_folder(path):
        return read_stored(path, METHOD, "model", ModelConfig)
    content = read_checkpoint(path)
    state = content.get("model", content)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()) or not state:
        raise WeightsError(f"{path} has no state dict under 'model'; an official ImpliCity checkpoint has.")
    return StoredModel(path, in_float32(state))


def architecture_of(stored: Stored) -> ModelConfig:
    """Return the stored architecture, else the published network of the variant that the tensors belong to."""
    if stored.model is not None:
        return stored.model
    stem = stored.tensors.get("image_encoder.conv1.weight")
    return ModelConfig.of_variant("0" if stem is None else ("mono" if stem.shape[1] == 1 else "stereo"))


def filled_network(stored: Stored, model: ModelConfig | None = None) -> ImpliCityNet:
    """Return the network with the stored tensors, in evaluation mode; either name of an aliased module is enough.

    ``model`` is the architecture; None is that of ``architecture_of``.

    Raises
    ------
    WeightsError
        A tensor is missing, has another shape, or belongs to no part of the network.
    """
    net = build_model(model or architecture_of(stored))
    expected = net.state_dict()
    given = dict(stored.tensors)
    for key in expected:
        for name, other in (ALIAS, ALIAS[::-1]):
            if key not in given and name in key and (counterpart := key.replace(name, other)) in given:
                given[key] = given[counterpart]
    hint = "give weights of this architecture, or its --config (import-weights: --option config=FILE)"
    check_state(expected, given, stored.path, hint)
    net.load_state_dict({key: given[key] for key in expected})
    return net.eval()


def trained_model(
    net: ImpliCityNet,
    normalisation: Normalisation,
    constants: Mapping[str, float],
    *,
    provenance: Mapping[str, Any] | None = None,
    card: str = "",
) -> Trained:
    """Return a network with all that its weights folder says of it. Aliased tensors are written once."""
    model = net.config
    meta = {
        "variant": model.variant,
        "model": dataclasses.asdict(model),
        "normalisation": normalisation.as_dict(),
        **constants,
    }
    tensors = {key: tensor for key, tensor in net.state_dict().items() if ALIAS[0] not in key}
    return Trained(
        METHOD, tensors, meta, provenance or {}, card or f"# ImpliCity-{model.variant}\n\nTrained with refbench.\n"
    )
