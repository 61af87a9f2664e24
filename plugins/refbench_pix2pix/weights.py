"""Weights on disk: a weights folder, an official run folder, or an official generator file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import WeightsError
from refbench.weights.state_dict import load_state
from refbench.weights.weights_folder import TENSORS_FILE, is_weights_folder, read_weights, write_weights
from refbench_pix2pix.config import GeneratorConfig, ValueConfig
from refbench_pix2pix.network.network import Generator
from refbench_pix2pix.official.checkpoints import find_generator, generator_of, read_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

METHOD = "pix2pix"


@dataclass(frozen=True)
class StoredModel:
    """A filled generator in evaluation mode, its values, and facts (``gsd``). ``path`` is where it came from."""

    path: Path
    net: Generator
    values: ValueConfig = field(default_factory=ValueConfig)
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_model(path: Path, epoch: str = "latest") -> StoredModel:
    """Open weights; official files carry no values: one level is one metre above 0.

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or the folder holds no generator.
    """
    if path.name != TENSORS_FILE and not is_weights_folder(path):
        source = find_generator(path, epoch)
        return StoredModel(source, generator_of(source, read_state(source)))
    folder = read_weights(path)
    meta = folder.meta
    if meta.get("method") != METHOD:
        raise WeightsError(f"{path} holds weights of {meta.get('method', 'an unnamed method')}, not pix2pix.")
    try:
        config = TypeAdapter(GeneratorConfig).validate_python(meta.get("generator"))
        values = TypeAdapter(ValueConfig).validate_python(meta.get("values"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise WeightsError(f"{path / 'model.yaml'}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in folder.tensors().items()}
    state = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    net = load_state(lambda: Generator(config), state, folder.path, "give weights of this architecture")
    return StoredModel(folder.path, net.eval(), values, {key: meta[key] for key in ("gsd",) if key in meta})


def write_model(
    folder: Path,
    net: Generator,
    values: ValueConfig,
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
        "generator": dataclasses.asdict(net.config),
        "values": dataclasses.asdict(values),
        **facts,
        "provenance": dict(provenance),
    }
    write_weights(folder, tensors, meta, card)
