"""Weights on disk: a weights folder, an official run folder, or an official checkpoint with its side files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.training.learnt import StoredModel, Trained, filled, in_float32, is_stored_folder, read_stored
from refbench.weights.checkpoint import read_checkpoint
from refbench_resdepth.config import ModelConfig
from refbench_resdepth.network.network import UNet
from refbench_resdepth.official.model import ARCHITECTURE_FILE, GEOM_FILE, IMAGE_FILE, read_architecture, read_scale

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench_resdepth.scale import Scale

METHOD = "resdepth"
FACTS = ("tile_size", "gsd", "sigma_factor", "shrink")
"""What ``model.yaml`` may say beside architecture and scales; see ``shrinkage`` for the last two."""
CHECKPOINTS = "checkpoints"
PREFERRED = ("Model_best.pth", "Model_last.pth")


Stored: TypeAlias = StoredModel[ModelConfig]
"""Its ``meta`` may hold ``normalisation``, what is known of ``Scale``, and ``FACTS``."""


def read_model(path: Path) -> Stored:
    """Open weights.

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or the folder holds no model.
    """
    if is_stored_folder(path):
        return read_stored(path, METHOD, "model", ModelConfig)
    if path.is_dir():
        return _read_checkpoint(_preferred(path), path)
    run = next((folder for folder in (path.parent, path.parent.parent) if (folder / ARCHITECTURE_FILE).is_file()), None)
    return _read_checkpoint(path, run)


def filled_network(stored: Stored, model: ModelConfig | None = None) -> UNet:
    """Return the network with the stored tensors, in evaluation mode.

    ``model`` is the architecture where no file says it.

    Raises
    ------
    WeightsError
        The tensors do not fit, or nothing says the architecture.
    """
    config = stored.model or model
    if config is None:
        raise WeightsError(
            f"{stored.path} does not say its architecture; put the official model_config.json beside it, "
            "or give a --config with a model section."
        )
    return filled(lambda: UNet(config), stored)


def trained_model(
    net: UNet,
    scale: Scale,
    facts: Mapping[str, Any] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
    card: str = "",
) -> Trained:
    """Return a network with all that its weights folder says of it; ``facts`` are some of ``FACTS``."""
    meta = {"model": dataclasses.asdict(net.config), "normalisation": scale.as_dict(), **(facts or {})}
    text = card or f"# ResDepth, {net.config.input_channels}\n\nTrained with refbench.\n"
    return Trained(METHOD, net.state_dict(), meta, provenance or {}, text)


def _read_checkpoint(path: Path, run: Path | None) -> Stored:
    content = read_checkpoint(path)
    state = content.get("model_state_dict", content)
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} has no 'model_state_dict'; an official ResDepth checkpoint has.")
    model: ModelConfig | None = None
    scale: dict[str, Any] = {}
    if run is not None:
        model = read_architecture(run / ARCHITECTURE_FILE)
        geom, image = run / GEOM_FILE, run / IMAGE_FILE
        if geom.is_file():
            scale = read_scale(geom, image if image.is_file() else None)
    return StoredModel(path, in_float32(state), model, {"normalisation": scale})


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
