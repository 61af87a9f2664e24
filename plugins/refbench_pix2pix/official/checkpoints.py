"""Checkpoints: official ``<epoch>_net_{G,D}.pth`` files, and one beside them that a training resumes from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.training.task import TrainState
from refbench.weights.checkpoint import read_checkpoint
from refbench_pix2pix.config import GeneratorConfig
from refbench_pix2pix.network.network import WIDTHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from refbench_pix2pix.network.pair import Pair

LATEST = "latest"
NAMES = {"G": "generator", "D": "discriminator"}
PREFIX = "module."
STOCK = "model.model."


def network_file(folder: Path, letter: str, epoch: str = LATEST) -> Path:
    """Return the official file of a network, ``G`` or ``D``."""
    return folder / f"{epoch}_net_{letter}.pth"


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of an official file.

    Weights are [outputs, inputs, height, width].

    Raises
    ------
    WeightsError
        Damaged, wants to run code, holds no tensors, or is of the parent system's own ``unet_256``.
    """
    state = {str(key).removeprefix(PREFIX): value for key, value in read_checkpoint(path).items() if key != "_metadata"}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} is no state dict of tensors; an official *_net_G.pth is.")
    if any(key.startswith(STOCK) for key in state):
        raise WeightsError(
            f"{path} is a unet_256 of the general pix2pix repository: its skips are concatenated, those of the DSM "
            "enhancer are summed, so its weights do not fit."
        )
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def generator_config(path: Path, state: Mapping[str, Tensor]) -> GeneratorConfig:
    """Return the generator that a state dict belongs to, by the shapes of its tensors.

    Weights are [outputs, inputs, height, width].

    Raises
    ------
    WeightsError
        It belongs to another network.
    """
    first, last = state.get("downblock_8.0.weight"), state.get("upblock_8.1.weight")
    if first is None or last is None or first.ndim != 4 or last.ndim != 4:
        raise WeightsError(f"{path} is no generator of the DSM enhancer: it lacks downblock_8.0.weight.")
    return GeneratorConfig(int(first.shape[1]), int(last.shape[1]), int(first.shape[0]) // WIDTHS[0])


def find_generator(source: Path, epoch: str = LATEST) -> Path:
    """Return the generator's file of a run folder, or ``source`` where that is a file.

    Raises
    ------
    MissingFileError
        There is none.
    """
    if source.is_file():
        return source
    path = network_file(source, "G", epoch)
    if not path.is_file():
        found = sorted(file.name for file in source.glob("*_net_G.pth")) if source.is_dir() else []
        hint = f"there are {', '.join(found)}; name one's epoch with --option epoch=NAME" if found else "there is none"
        raise MissingFileError(f"{source} holds no {path.name}: {hint}.")
    return path


def load_discriminator(discriminator: nn.Module, generator: Path) -> bool:
    """Fill a discriminator from the official file beside a generator's; return whether there is one.

    Old files hold statistics of their instance norms, which nothing reads: they are left out.

    Raises
    ------
    WeightsError
        The file is damaged, or of another discriminator than the configuration asks for.
    """
    path = generator.with_name(generator.name.replace("_net_G", "_net_D"))
    if path == generator or not path.is_file():
        return False
    stale = ("running_mean", "running_var", "num_batches_tracked")
    known = discriminator.state_dict()
    held = read_state(path)
    state = {key: value for key, value in held.items() if key in known or key.rpartition(".")[2] not in stale}
    try:
        discriminator.load_state_dict(state)
    except RuntimeError as error:
        reason = re.sub(r"\s+", " ", str(error))[:300]
        raise WeightsError(
            f"{path} is another discriminator than discriminator.* of the configuration: {reason}; set these keys as "
            "it was trained, or move the file away to begin with a fresh one."
        ) from None
    return True


def write_training(
    path: Path, pair: Pair, optimizers: Sequence[Optimizer], schedules: Sequence[Any], state: TrainState
) -> None:
    """Write a checkpoint to resume from, and the official file of each network, each beside its place and renamed."""
    contents: dict[Path, Any] = {
        network_file(path.parent, letter, path.stem): _bare(getattr(pair, name)) for letter, name in NAMES.items()
    }
    contents[path] = {
        "networks": {name: _bare(getattr(pair, name)) for name in NAMES.values()},
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "schedules": [{k: v for k, v in schedule.state_dict().items() if k != "lr_lambdas"} for schedule in schedules],
        "step": state.step,
        "seconds": float(state.seconds),
        "best": state.best,
    }
    for file, content in contents.items():
        beside = file.with_name(f".{file.name}.new")
        try:
            torch.save(content, beside)
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)


def read_training(path: Path, pair: Pair, optimizers: Sequence[Optimizer], schedules: Sequence[Any]) -> TrainState:
    """Restore a checkpoint of ``write_training``.

    Raises
    ------
    WeightsError
        The file is damaged or of other networks.
    """
    content = read_checkpoint(path)
    try:
        for name in NAMES.values():
            getattr(pair, name).load_state_dict(content["networks"][name])
        for optimizer, held in zip(optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        for schedule, held in zip(schedules, content["schedules"], strict=True):
            schedule.load_state_dict({**schedule.state_dict(), **held})
    except (KeyError, RuntimeError, ValueError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:300]
        raise WeightsError(f"{path} is no checkpoint of these networks: {reason}.") from None
    return TrainState(step=int(content["step"]), seconds=float(content["seconds"]), best=content["best"])


def _bare(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu() for key, value in net.state_dict().items()}
