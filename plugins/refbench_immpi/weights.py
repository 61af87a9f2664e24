"""Weights on disk: a weights folder with both networks, or an official checkpoint."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.weights.state_dict import load_state
from refbench.weights.weights_folder import TENSORS_FILE, is_weights_folder, read_weights, write_weights
from refbench_immpi.config import NetworkConfig
from refbench_immpi.network.network import MPIGenerator
from refbench_immpi.network.resnet import FeatureGenerator
from refbench_immpi.official.checkpoints import read_official

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

METHOD = "immpi"
PREFIXES = ("feature_generator.", "mpi_generator.")


@dataclass(frozen=True)
class StoredModel:
    """Both networks, filled, in evaluation mode. ``facts`` are of ``model.yaml`` (``planes``); ``path`` where from."""

    path: Path
    encoder: FeatureGenerator
    generator: MPIGenerator
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> NetworkConfig:
        """Widths and encoding."""
        return self.generator.config


def read_model(path: Path) -> StoredModel:
    """Open weights.

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or a folder without weights.
    """
    if path.name != TENSORS_FILE and not is_weights_folder(path):
        source = newest_checkpoint(path) if path.is_dir() else path
        stored = read_official(source)
        return StoredModel(source, stored.encoder.eval(), stored.generator.eval(), {"epoch": stored.epoch})
    folder = read_weights(path)
    if folder.meta.get("method") != METHOD:
        raise WeightsError(f"{path} holds weights of {folder.meta.get('method', 'an unnamed method')}, not immpi.")
    try:
        config = TypeAdapter(NetworkConfig).validate_python(folder.meta.get("network"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise WeightsError(f"{path / 'model.yaml'}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in folder.tensors().items()}
    state = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    hint = "give weights of this architecture"
    parts = [{k.removeprefix(p): v for k, v in state.items() if k.startswith(p)} for p in PREFIXES]
    encoder = load_state(lambda: FeatureGenerator(config), parts[0], folder.path, hint)
    generator = load_state(lambda: MPIGenerator(config), parts[1], folder.path, hint)
    facts = {name: folder.meta[name] for name in ("planes",) if name in folder.meta}
    return StoredModel(folder.path, encoder.eval(), generator.eval(), facts)


def newest_checkpoint(folder: Path) -> Path:
    """Return the newest ``*.ckpt`` of a folder by name, as training numbers them.

    Raises
    ------
    MissingFileError
        There is none.
    """
    found = sorted(folder.glob("*.ckpt"))
    if not found:
        raise MissingFileError(f"{folder} holds neither a weights folder nor a .ckpt of ImMPI.")
    return found[-1]


def write_model(
    folder: Path,
    encoder: FeatureGenerator,
    generator: MPIGenerator,
    facts: Mapping[str, Any],
    *,
    provenance: Mapping[str, Any],
    card: str,
    half: bool = False,
) -> None:
    """Write a weights folder; ``half`` stores float16."""

    def array(tensor: Tensor) -> Any:  # noqa: ANN401  # a NumPy array
        return (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().numpy()

    tensors = {
        f"{prefix}{name}": array(tensor)
        for prefix, net in zip(PREFIXES, (encoder, generator), strict=True)
        for name, tensor in net.state_dict().items()
    }
    meta = {
        "refbench_weights": 1,
        "method": METHOD,
        "network": {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(generator.config).items()},
        **facts,
        "provenance": dict(provenance),
    }
    write_weights(folder, tensors, meta, card)
