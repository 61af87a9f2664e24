"""Weights on disk: a weights folder, an official run folder, or an official checkpoint with its side files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.state_dict import load_state
from refbench.weights.weights_folder import TENSORS_FILE, is_weights_folder, read_weights, write_weights
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


@dataclass(frozen=True)
class StoredModel:
    """Tensors by published key, the architecture (None where no file says it), and constants.

    ``scale`` holds what is known of ``Scale``; ``facts`` may hold what ``FACTS`` names.
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


def filled_network(model: ModelConfig, stored: StoredModel) -> UNet:
    """Return the network with the stored tensors, in evaluation mode; ``WeightsError`` where they do not fit."""
    return load_state(lambda: UNet(model), stored.tensors, stored.path, "give weights of this architecture").eval()


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
    facts = {key: meta[key] for key in FACTS if key in meta}
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


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array))
    return tensor.float() if tensor.is_floating_point() else tensor
