"""Multiplane images without gradients: the network's numbers in a third of the time and memory.

What all planes share is convolved once, planes pass through the large maps in chunks, norms and activations work in
place, and only the scales that are asked for are made. Statistics of the batch run over all planes: every chunk's mean
and variance are kept and joined, then the norm is applied. Letters: B batch, D planes, N = B * D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from refbench_immpi.network.network import LEVELS, SCALES, as_planes, folded
from refbench_immpi.network.norms import Moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_immpi.network.network import Block, MPIGenerator

CHUNK_VALUES = 1 << 24
"""How many values of a map a chunk of planes holds at most: 64 MiB."""


@torch.inference_mode()
def fast_planes(
    net: MPIGenerator, features: Sequence[Tensor], planes: int, scales: Sequence[int] = SCALES, *, batch_norms: bool
) -> dict[int, Tensor]:
    """Return scale -> [B, D, 4, h, w] as ``MPIGenerator.forward`` does.

    Parameters
    ----------
    net
        The generator; its mode does not matter and its running statistics stay as they are.
    features
        The encoder's five maps.
    planes
        How many.
    scales
        Which of the four scales to make.
    batch_norms
        Statistics of these planes (as published weights need it) or running ones.
    """
    batch = features[0].shape[0]
    code = net.encoding(planes, features[0])
    small = _bottleneck(net, features[-1], batch_norms)
    x = _shared(net.block(LEVELS - 1, 0).conv.conv, small, code, 0)
    _normalised(x, net.block(LEVELS - 1, 0).bn, batch_norms, None)
    found = {}
    for level in reversed(range(min(scales), LEVELS)):
        if level < LEVELS - 1:
            x = _convolved(x, net.block(level, 0), batch_norms)
        x = _grown(net, x, features, code, level, batch_norms)
        if level in scales:
            found[level] = torch.cat([as_planes(_headed(net, part, level), 1) for part in _parts(x, 4)], 1)
            found[level] = found[level].reshape(batch, planes, *found[level].shape[2:])
    return found


def _bottleneck(net: MPIGenerator, x: Tensor, batch_norms: bool) -> Tensor:
    """Run the small maps through the bottleneck; few values, so its own modules do it."""
    steps = (net.conv_down1, net.conv_down2, net.conv_up1, net.conv_up2)
    for number, step in enumerate(steps):
        if number < 2:
            x = functional.max_pool2d(x, 3, 2, 1)
        else:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        convolution, norm, activation = step[0], step[1], step[2]
        assert isinstance(norm, nn.BatchNorm2d)  # by the order of a step's layers
        x = convolution(x)
        if batch_norms:
            x = functional.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
        else:
            x = norm.eval()(x) if not norm.training else _running(x, norm)
        x = activation(x)
    return x


def _running(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)


def _parts(x: Tensor, outputs: int | None = None, growth: int = 1) -> tuple[Tensor, ...]:
    """Return chunks of planes of [N, C, h, w] whose result of ``outputs`` channels stays within CHUNK_VALUES."""
    channels = max(x.shape[1], outputs or 0)
    number = max(1, CHUNK_VALUES // (channels * x.shape[2] * x.shape[3] * growth))
    parts: tuple[Tensor, ...] = torch.split(x, number)
    return parts


def _empty(number: int, like: Tensor) -> Tensor:
    """Return an uninitialised map of ``number`` planes with the size of the part ``like``, channels last."""
    return torch.empty(
        (number, *like.shape[1:]), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _shared(conv: nn.Conv2d, x: Tensor, code: Tensor, skip: int) -> Tensor:
    """Return the part of a convolution that planes share plus the bias of each, [N, C', h, w]."""
    maps, bias = _maps_and_bias(conv, x, code, skip)
    spread = maps[:, None] + bias[None, :, :, None, None]
    return spread.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _maps_and_bias(conv: nn.Conv2d, x: Tensor, code: Tensor, skip: int) -> tuple[Tensor, Tensor]:
    weight = conv.weight[:, skip:]
    padded = functional.pad(x, (1, 1, 1, 1), mode="reflect").contiguous(memory_format=torch.channels_last)
    maps = functional.conv2d(padded, weight[:, : x.shape[1]])
    assert conv.bias is not None  # all of the decoder have one
    return maps, code @ weight[:, x.shape[1] :].sum(dim=(2, 3)).T + conv.bias


def _convolved(x: Tensor, block: Block, batch_norms: bool) -> Tensor:
    """Return block (level, 0) of [N, C, h, w]."""
    conv = block.conv.conv
    weight = conv.weight.contiguous(memory_format=torch.channels_last)
    out, moments, first = None, Moments(), 0
    for part in _parts(x, conv.out_channels):
        made = functional.conv2d(functional.pad(part, (1, 1, 1, 1), mode="reflect"), weight, conv.bias)
        moments.add(made, batch_norms)
        if len(part) == len(x):
            out = made
            break
        out = _empty(len(x), made) if out is None else out
        out[first : first + len(part)] = made
        first += len(part)
    assert out is not None  # there is at least one plane
    return _normalised(out, block.bn, batch_norms, moments)


def _grown(
    net: MPIGenerator, x: Tensor, features: Sequence[Tensor], code: Tensor, level: int, batch_norms: bool
) -> Tensor:
    """Return block (level, 1) of a doubled map: [N, C', 2 h, 2 w]."""
    block = net.block(level, 1)
    conv = block.conv.conv
    weight = folded(conv.weight[:, : x.shape[1]]).contiguous(memory_format=torch.channels_last)
    maps = None
    if level:
        maps, per_plane = _maps_and_bias(conv, features[level - 1], code, x.shape[1])
        per_image = per_plane.repeat(features[0].shape[0], 1)
    out, moments, first = None, Moments(), 0
    for part in _parts(x, conv.out_channels, 4):
        padded = functional.pad(part, (1, 1, 1, 1), mode="replicate")
        made = functional.conv_transpose2d(padded, weight, None if level else conv.bias, stride=2, padding=3)
        if maps is not None:
            _add_shared(made, maps, per_image[first : first + len(part)], len(code), first)
        moments.add(made, batch_norms)
        if len(part) == len(x):
            out = made
            break
        out = _empty(len(x), made) if out is None else out
        out[first : first + len(part)] = made
        first += len(part)
    assert out is not None
    return _normalised(out, block.bn, batch_norms, moments)


def _add_shared(made: Tensor, maps: Tensor, bias: Tensor, planes: int, first: int) -> None:
    """Add the shared maps of each plane's image and its own bias, in place."""
    for number in range(len(made)):
        made[number] += maps[(first + number) // planes] + bias[number][:, None, None]


def _normalised(x: Tensor, norm: nn.BatchNorm2d, batch_norms: bool, moments: Moments | None) -> Tensor:
    """Apply norm and ELU in place and return ``x``."""
    if batch_norms:
        if moments is None:
            moments = Moments()
            moments.add(x, True)
        mean, variance = moments.joined()
    else:
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    shift = norm.bias.double() - mean * scale
    scale, shift = (value.to(x.dtype).reshape(1, -1, 1, 1) for value in (scale, shift))
    torch.addcmul(shift, x, scale, out=x)
    return functional.elu_(x)


def _headed(net: MPIGenerator, x: Tensor, level: int) -> Tensor:
    conv = net.head(level).conv
    return functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)
