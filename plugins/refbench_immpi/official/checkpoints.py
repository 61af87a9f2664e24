"""Official checkpoints: ``*.ckpt`` with both networks, optimiser and epoch, in and out (docs/methods/immpi.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import WeightsError
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.state_dict import load_state
from refbench_immpi.config import NetworkConfig
from refbench_immpi.network.network import LEVELS, MPIGenerator, key
from refbench_immpi.network.resnet import EXPANSION, FeatureGenerator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

NETWORKS = ("feature_generator", "mpi_generator")
CONFIG = "refbench_network"
"""Key of refbench's own in a checkpoint: the configuration of the networks."""
HINT = "give a .ckpt of ImMPI, such as ASI_prior.ckpt"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Both networks of a checkpoint, filled; ``epoch`` is the 0-based index of the last finished one."""

    encoder: FeatureGenerator
    generator: MPIGenerator
    epoch: int = 0
    optimizer: Mapping[str, Any] = field(default_factory=dict)


def read_official(path: Path) -> Stored:
    """Return the networks of an official checkpoint, whose widths are read from the shapes of its weights.

    Raises
    ------
    WeightsError
        Damaged, a pickle that wants to run code, or not a checkpoint of ImMPI.
    """
    content = read_checkpoint(path)
    states = {}
    for name in NETWORKS:
        state = content.get(name) if isinstance(content, dict) else None
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise WeightsError(f"{path} has no state dict {name}; {HINT}.")
        states[name] = {str(k).removeprefix("module."): value.contiguous() for k, value in state.items()}
    config = network_of(states["feature_generator"], states["mpi_generator"], path)
    own = content.get(CONFIG)
    if isinstance(own, dict) and own.get("encoding") in ("sane", "scrambled"):
        config = replace(config, encoding=own["encoding"])
    encoder = load_state(lambda: FeatureGenerator(config), states["feature_generator"], path, HINT)
    generator = load_state(lambda: MPIGenerator(config), states["mpi_generator"], path, HINT)
    epoch = content.get("epoch", 0)
    optimizer = content.get("optimizer")
    return Stored(encoder, generator, int(epoch), optimizer if isinstance(optimizer, dict) else {})


def network_of(encoder: Mapping[str, Tensor], generator: Mapping[str, Tensor], path: Path) -> NetworkConfig:
    """Return the configuration whose networks have weights of these shapes; published weights are scrambled.

    Tensors by name, weights [outputs, inputs, height, width] of the convolutions.

    Raises
    ------
    WeightsError
        A weight that tells a width is missing.
    """

    def width(state: Mapping[str, Tensor], name: str) -> int:
        if name not in state:
            raise WeightsError(f"{path} lacks {name}; {HINT}.")
        return int(state[name].shape[0])

    kind = "resnet50" if "encoder.layer1.0.conv3.weight" in encoder else "resnet18"
    last = "conv3" if EXPANSION[kind] > 1 else "conv2"
    widths = [width(encoder, f"encoder.layer{level}.0.{last}.weight") for level in (1, 2, 3, 4)]
    decoder = [width(generator, f"convs.{key('upconv', level, 0)}.conv.conv.weight") for level in range(LEVELS)]
    inner = [width(generator, f"{name}.0.weight") for name in ("conv_down1", "conv_down2", "conv_up1")]
    return NetworkConfig(
        encoder=kind,  # type: ignore[arg-type]
        encoder_widths=(width(encoder, "encoder.conv1.weight"), *widths),  # type: ignore[arg-type]
        bottleneck_widths=tuple(inner),  # type: ignore[arg-type]
        decoder_widths=tuple(decoder),  # type: ignore[arg-type]
        classes=width(encoder, "encoder.fc.weight"),
        encoding="scrambled",
    )


def write_official(
    path: Path, encoder: FeatureGenerator, generator: MPIGenerator, epoch: int, optimizer: Mapping[str, Any]
) -> None:
    """Write a checkpoint that the official code reads, beside its place and renamed.

    It says besides which networks these are: the official code looks at its own keys only.
    """
    content = {
        "epoch": epoch,
        CONFIG: {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(generator.config).items()},
        "feature_generator": _bare(encoder),
        "mpi_generator": _bare(generator),
        "optimizer": dict(optimizer),
    }
    beside = path.with_name(f".{path.name}.new")
    try:
        torch.save(content, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _bare(net: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
