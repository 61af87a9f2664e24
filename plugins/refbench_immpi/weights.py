"""Weights on disk: a weights folder with both networks, or an official checkpoint."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from refbench.contracts.errors import MissingFileError
from refbench.training.learnt import StoredModel, Trained, is_stored_folder, read_stored
from refbench.weights.state_dict import load_state
from refbench_immpi.config import NetworkConfig
from refbench_immpi.network.network import MPIGenerator
from refbench_immpi.network.pair import Pair
from refbench_immpi.network.resnet import FeatureGenerator
from refbench_immpi.official.checkpoints import read_official

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

METHOD = "immpi"
FACTS = ("planes", "epoch")
"""What files may say besides: number of planes, and of the last epoch."""
PREFIXES = ("feature_generator.", "mpi_generator.")

Stored: TypeAlias = StoredModel[NetworkConfig]


def read_model(path: Path) -> Stored:
    """Open weights.

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or a folder without weights.
    """
    if is_stored_folder(path):
        return read_stored(path, METHOD, "network", NetworkConfig)
    source = newest_checkpoint(path) if path.is_dir() else path
    official = read_official(source)
    tensors = _prefixed(official.encoder, official.generator)
    return StoredModel(source, tensors, official.generator.config, {"epoch": official.epoch})


def filled_network(stored: Stored) -> Pair:
    """Return both networks with the stored tensors, in evaluation mode; ``WeightsError`` where they do not fit."""
    config = stored.model
    assert config is not None  # both kinds of files say it
    hint = "give weights of this architecture"
    parts = [{k.removeprefix(p): v for k, v in stored.tensors.items() if k.startswith(p)} for p in PREFIXES]
    encoder = load_state(lambda: FeatureGenerator(config), parts[0], stored.path, hint)
    generator = load_state(lambda: MPIGenerator(config), parts[1], stored.path, hint)
    return Pair(encoder.eval(), generator.eval())


def trained_model(nets: Pair, planes: int, *, provenance: Mapping[str, Any] | None = None, card: str = "") -> Trained:
    """Return both networks with all that their weights folder says; ``planes``: how many they were trained with."""
    config = dataclasses.asdict(nets.generator.config)
    meta = {"network": {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}, "planes": planes}
    text = card or "# ImMPI\n\nTrained with refbench over several scenes; a scene's own optimisation starts here.\n"
    return Trained(METHOD, _prefixed(nets.encoder, nets.generator), meta, provenance or {}, text)


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


def _prefixed(*nets: nn.Module) -> dict[str, Tensor]:
    return {
        f"{prefix}{name}": tensor
        for prefix, net in zip(PREFIXES, nets, strict=True)
        for name, tensor in net.state_dict().items()
    }
