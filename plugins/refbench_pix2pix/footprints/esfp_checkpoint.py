"""Published ESFPNet files: a state dict, or the whole pickled network, from which only tensors are taken."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, cast

from refbench.contracts.errors import WeightsError
from refbench.weights.module_state import read_module_state
from refbench.weights.state_dict import load_state
from refbench_pix2pix.footprints.esfpnet import SIZES, STAGES, EsfpConfig, EsfpNet, Four

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

_PREFIX = "module."
"""What a wrapper for several GPUs puts before every name."""


def read_esfpnet(path: Path, heads: Four | None = None) -> EsfpNet:
    """Return the network of a file, in evaluation mode on the CPU.

    Parameters
    ----------
    path
        A state dict or a whole pickled network; no code of the file is run.
    heads
        Attention heads of the four stages: no tensor tells them. None takes those of the published sizes.

    Raises
    ------
    MissingFileError
        There is no such file.
    WeightsError
        The file wants to run code, is damaged, or is of another network.
    """
    state = read_module_state(path)
    if all(name.startswith(_PREFIX) for name in state):
        state = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    config = infer_config(state, path, heads)
    return load_state(lambda: EsfpNet(config), state, path, "give ESFPNet with a Mix Transformer backbone").eval()


def infer_config(state: Mapping[str, Tensor], path: Path, heads: Four | None = None) -> EsfpConfig:
    """Return the size of the network that the tensors are of.

    Weights are [outputs, inputs, height, width] or [outputs, inputs].

    Raises
    ------
    WeightsError
        They are not of an ESFPNet, or the heads of its widths are neither published nor given.
    """
    try:
        widths = cast("Four", tuple(state[f"backbone.norm{stage}.weight"].shape[0] for stage in _stages()))
        depths = cast("Four", tuple(_depth(state, stage) for stage in _stages()))
        reductions = cast("Four", tuple(_reduction(state, stage) for stage in _stages()))
        hidden = [state[f"backbone.block{stage}.0.mlp.fc1.weight"].shape[0] for stage in _stages()]
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{path} is not of ESFPNet with a Mix Transformer backbone: it lacks {error}.") from error
    ratios = cast("Four", tuple(count // width for count, width in zip(hidden, widths, strict=True)))
    if heads is None:
        heads = next((size.heads for size in SIZES.values() if size.widths == widths), None)
    if heads is None:
        raise WeightsError(
            f"{path} has the widths {widths}, of no published size, and no tensor tells its attention heads; "
            "give them with --option heads=[1,2,5,8] or as they were."
        )
    if len(heads) != STAGES or any(head < 1 or width % head for head, width in zip(heads, widths, strict=True)):
        raise WeightsError(f"heads must be {STAGES} numbers that divide the widths {widths} of {path}, got {heads}.")
    return EsfpConfig(widths, depths, heads, reductions, ratios)


def _stages() -> Iterator[int]:
    return iter(range(1, STAGES + 1))


def _depth(state: Mapping[str, Tensor], stage: int) -> int:
    """Return the number of blocks of a stage."""
    pattern = re.compile(rf"backbone\.block{stage}\.(\d+)\.norm1\.weight")
    return 1 + max((int(match[1]) for name in state if (match := pattern.fullmatch(name))), default=-1)


def _reduction(state: Mapping[str, Tensor], stage: int) -> int:
    """Return the spatial reduction of a stage: the kernel of its convolution, 1 where it has none."""
    kernel = state.get(f"backbone.block{stage}.0.attn.sr.weight")
    return 1 if kernel is None else math.isqrt(kernel[0, 0].numel())
