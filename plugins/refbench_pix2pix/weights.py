"""Weights on disk: a weights folder, an official run folder, or an official generator file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import WeightsError
from refbench.training.learnt import StoredModel, Trained, filled, is_stored_folder, read_stored
from refbench_pix2pix.config import GeneratorConfig, ValueConfig
from refbench_pix2pix.network.network import Generator
from refbench_pix2pix.official.checkpoints import find_generator, generator_config, read_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

METHOD = "pix2pix"
FACTS = ("gsd",)
"""What ``model.yaml`` may say besides: the pixel in metres that the network was trained on."""

Stored: TypeAlias = StoredModel[GeneratorConfig]


def read_model(path: Path, epoch: str = "latest") -> Stored:
    """Open weights; official files carry no values: one level is one metre above 0.

    Raises
    ------
    WeightsError
        Damaged, of another method, or a pickle that wants to run code.
    MissingFileError
        There is no such file, or the folder holds no generator.
    """
    if is_stored_folder(path):
        return read_stored(path, METHOD, "generator", GeneratorConfig)
    source = find_generator(path, epoch)
    state = read_state(source)
    return StoredModel(source, state, generator_config(source, state), {"values": dataclasses.asdict(ValueConfig())})


def filled_network(stored: Stored) -> Generator:
    """Return the generator with the stored tensors, in evaluation mode; ``WeightsError`` where they do not fit."""
    config = stored.model
    assert config is not None  # both kinds of files say it
    return filled(lambda: Generator(config), stored)


def stored_values(stored: Stored) -> ValueConfig:
    """Return how heights become the values that a stored network knows.

    Raises
    ------
    WeightsError
        ``model.yaml`` does not say it.
    """
    try:
        return TypeAdapter(ValueConfig).validate_python(stored.meta.get("values"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, ("values", *first["loc"])))
        raise WeightsError(f"{stored.path / 'model.yaml'}: {where}: {first['msg']}.") from error


def trained_model(
    net: Generator,
    values: ValueConfig,
    facts: Mapping[str, Any] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
    card: str = "",
) -> Trained:
    """Return a generator with all that its weights folder says of it; ``facts`` are some of ``FACTS``."""
    meta = {"generator": dataclasses.asdict(net.config), "values": dataclasses.asdict(values), **(facts or {})}
    text = card or f"# pix2pix DSM enhancer, {net.config.input_nc} channel(s)\n\nTrained with refbench.\n"
    return Trained(METHOD, net.state_dict(), meta, provenance or {}, text)
