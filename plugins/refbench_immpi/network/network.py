"""The generator of multiplane images under the published key names (docs/methods/immpi.md, Network).

Two forms of the same numbers: ``plain`` follows the text step by step; ``forward`` convolves what all planes share
once, turns the encoding into a bias per plane, and folds the doubling of maps into the kernel that follows it.
Letters: B batch, D planes, N = B * D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from refbench.contracts.errors import InputError
from refbench_immpi.network.encoding import LENGTH, plane_encoding
from refbench_immpi.network.norms import normed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_immpi.config import NetworkConfig

LEVELS = 5
SIDE = 128
"""What rows and columns of an image must be a multiple of."""
SCALES = (0, 1, 2, 3)
SLOPE, LEAST_SIGMA = 0.1, 1e-4
REPEATED = (0, 1, 2, 3)
"""Levels whose large maps are made again for the gradient instead of being kept."""
FOLD = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Rows of the 4-tap kernel that doubles and convolves at once, from the 3 taps of the kernel after doubling."""


def key(*parts: str | int) -> str:
    """Return the published name of a decoder module: its tuple's text, a dash between all characters."""
    return "-".join(str(parts if len(parts) > 1 else (parts[0],)))


class _Convolution(nn.Module):
    """A 3 x 3 convolution over reflected borders."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(functional.pad(x, (1, 1, 1, 1), mode="reflect"))
        return found


class Block(nn.Module):
    """Convolution over reflected borders, batch norm, ELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _Convolution(inputs, outputs)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, outputs, h, w] of [N, inputs, h, w]. Features without a unit."""
        return functional.elu(self.bn(self.conv(x)))


def _bottleneck_step(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )


class MPIGenerator(nn.Module):
    """Features of an image and a number of planes -> colour and density of every plane, at four scales."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        widths, inner, decoder = config.encoder_widths, config.bottleneck_widths, config.decoder_widths
        self.conv_down1 = _bottleneck_step(widths[-1], inner[0], 1)
        self.conv_down2 = _bottleneck_step(inner[0], inner[1], 3)
        self.conv_up1 = _bottleneck_step(inner[1], inner[2], 3)
        self.conv_up2 = _bottleneck_step(inner[2], widths[-1], 1)
        self.convs = nn.ModuleDict()
        for level in reversed(range(LEVELS)):
            inputs = widths[-1] + LENGTH if level == LEVELS - 1 else decoder[level + 1]
            self.convs[key("upconv", level, 0)] = Block(inputs, decoder[level])
            skipped = widths[level - 1] + LENGTH if level else 0
            self.convs[key("upconv", level, 1)] = Block(decoder[level] + skipped, decoder[level])
        for scale in SCALES:
            self.convs[key("dispconv", scale)] = _Convolution(decoder[scale], 4)

    def block(self, level: int, place: int) -> Block:
        """Return a block of the decoder: ``place`` 0 before the doubling, 1 after it."""
        found: Block = self.convs[key("upconv", level, place)]  # type: ignore[assignment]
        return found

    def head(self, scale: int) -> _Convolution:
        """Return the last convolution of a scale."""
        found: _Convolution = self.convs[key("dispconv", scale)]  # type: ignore[assignment]
        return found

    def encoding(self, planes: int, like: Tensor) -> Tensor:
        """Return the encoding of the planes [D, 21] on the device and of the type of ``like``.

        No unit: sines and cosines of normalised depths.
        """
        return plane_encoding(planes, self.config.encoding).to(like)

    def bottleneck(self, x: Tensor) -> Tensor:
        """Return the smallest map [B, C, h, w], seen from further away. Features without a unit."""
        x = self.conv_down1(functional.max_pool2d(x, 3, 2, 1))
        x = self.conv_down2(functional.max_pool2d(x, 3, 2, 1))
        x = self.conv_up1(functional.interpolate(x, scale_factor=2, mode="nearest"))
        found: Tensor = self.conv_up2(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return found

    def plain(self, features: Sequence[Tensor], planes: int, scales: Sequence[int] = SCALES) -> dict[int, Tensor]:
        """Return scale -> [B, D, 4, h, w], step by step as published; what the fast form is measured against.

        Channels are colours in [0, 1] and density.
        """
        batch = features[0].shape[0]
        code = self.encoding(planes, features[0])

        def spread(x: Tensor) -> Tensor:
            """[B, C, h, w] -> [N, C + 21, h, w]."""
            maps = x[:, None].expand(-1, planes, -1, -1, -1).flatten(0, 1)
            codes = code.repeat(batch, 1)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            return torch.cat([maps, codes], 1)

        x = spread(self.bottleneck(features[-1]))
        found = {}
        for level in reversed(range(LEVELS)):
            x = self.block(level, 0)(x)
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            if level:
                x = torch.cat([x, spread(features[level - 1])], 1)
            x = self.block(level, 1)(x)
            if level in scales:
                found[level] = as_planes(self.head(level)(x), batch)
        return found

    def forward(self, features: Sequence[Tensor], planes: int, scales: Sequence[int] = SCALES) -> dict[int, Tensor]:
        """Return scale -> [B, D, 4, h, w]: colour in [0, 1] and density above 0, with gradients.

        Batch norms follow the module's mode: statistics of the batch in training mode, running ones otherwise.
        """
        batch = features[0].shape[0]
        code = self.encoding(planes, features[0])
        x = self.first(self.bottleneck(features[-1]), code)
        found = {}
        for level in reversed(range(LEVELS)):
            skipped = features[level - 1] if level else None
            arguments = (x, skipped, code, level, level in scales)
            if level in REPEATED and torch.is_grad_enabled():
                x, made = checkpoint(self._level, *arguments, use_reentrant=False, preserve_rng_state=False)
            else:
                x, made = self._level(*arguments)
            if made is not None:
                found[level] = as_planes(made, batch)
        return found

    def _level(
        self, x: Tensor, skipped: Tensor | None, code: Tensor, level: int, wanted: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the map [N, C, h, w] after a level of the decoder and, if wanted, what its head makes of it."""
        if level < LEVELS - 1:
            before = self.block(level, 0)
            x = functional.elu(normed(before.bn, before.conv(x)), inplace=True)
        block = self.block(level, 1)
        shared = None if skipped is None else self.shared(level, skipped, code)
        x = functional.elu(normed(block.bn, doubled(x, block.conv.conv, shared)), inplace=True)
        return x, self.head(level)(x) if wanted else None

    def first(self, x: Tensor, code: Tensor) -> Tensor:
        """Return what block (4, 0) makes of the bottleneck's map [B, C, h, w]: [N, C', h, w].

        Features without a unit.
        """
        block = self.block(LEVELS - 1, 0)
        shared = _shared_part(block.conv.conv, x, code, 0)
        return functional.elu(block.bn(shared.flatten(0, 1)), inplace=True)

    def shared(self, level: int, feature: Tensor, code: Tensor) -> Tensor:
        """Return what block (level, 1) makes of a skipped map and of the planes' encoding: [B, D, C', h, w]."""
        return _shared_part(self.block(level, 1).conv.conv, feature, code, self.config.decoder_widths[level])


def _shared_part(conv: nn.Conv2d, x: Tensor, code: Tensor, skip: int) -> Tensor:
    """Convolve a map [B, C, h, w] with the kernel's channels from ``skip`` on; the last 21 become a bias per plane.

    A constant map stays one under reflected borders, so its convolution is the sum of the kernel.
    """
    weight = conv.weight[:, skip:]
    maps = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), weight[:, : x.shape[1]])
    maps = maps.contiguous(memory_format=torch.channels_last)
    assert conv.bias is not None  # all of the decoder have one
    bias = code @ weight[:, x.shape[1] :].sum(dim=(2, 3)).T + conv.bias
    return maps[:, None] + bias[None, :, :, None, None]


def folded(weight: Tensor) -> Tensor:
    """Return the transposed kernel [in, out, 4, 4] that doubles a map to its nearest pixels and convolves it."""
    taps = torch.tensor(FOLD, dtype=weight.dtype, device=weight.device)
    return torch.einsum("ka,oiab,lb->iokl", taps, weight, taps).contiguous()


def doubled(x: Tensor, conv: nn.Conv2d, shared: Tensor | None) -> Tensor:
    """Return the convolution of a doubled map [N, C, h, w], plus ``shared`` [B, D, C', 2 h, 2 w]: [N, C', 2 h, 2 w].

    Doubling and reflecting a border is replicating it and doubling, so the map itself never grows.
    Features without a unit.
    """
    weight = folded(conv.weight[:, : x.shape[1]]).contiguous(memory_format=torch.channels_last)
    padded = functional.pad(x.contiguous(memory_format=torch.channels_last), (1, 1, 1, 1), mode="replicate")
    if shared is None:
        return functional.conv_transpose2d(padded, weight, conv.bias, stride=2, padding=3)
    return functional.conv_transpose2d(padded, weight, stride=2, padding=3) + shared.flatten(0, 1)


def as_planes(x: Tensor, batch: int) -> Tensor:
    """Return [N, 4, h, w] as [B, D, 4, h, w] with colours in [0, 1] and densities above 0."""
    x = x.reshape(batch, -1, *x.shape[1:])
    return torch.cat([torch.sigmoid(x[:, :, :3]), x[:, :, 3:].abs() + LEAST_SIGMA], dim=2)


def check_batch(shape: Sequence[int], is_training: bool) -> None:
    """Refuse an image whose smallest map is a single pixel where norms need several.

    Raises
    ------
    InputError
        One image of 128 x 128 in training mode.
    """
    batch, _, rows, cols = shape
    if is_training and batch * rows * cols <= SIDE * SIDE:
        raise InputError(
            f"One image of {rows} x {cols} leaves a single pixel for statistics of the batch: take a larger one."
        )
