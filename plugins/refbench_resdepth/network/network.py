"""The ResDepth U-Net. State-dict keys are the published ones."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from refbench_resdepth.config import Activation, ModelConfig, UpMode

LEAK = 0.01


def activation(name: Activation) -> nn.Module:
    """Return an activation; raises ``ValueError`` for an unknown name."""
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "lrelu":
        return nn.LeakyReLU(LEAK, inplace=True)
    if name == "prelu":
        return nn.PReLU()
    raise ValueError(f"Unknown activation {name!r}: relu, lrelu and prelu are there.")


def conv_block(fan_in: int, fan_out: int, act: Activation, norm: bool) -> nn.Sequential:
    """Return convolution 3 x 3 (with a bias only without normalisation), batch normalisation, activation."""
    conv = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=not norm)
    return nn.Sequential(conv, *([nn.BatchNorm2d(fan_out)] if norm else []), activation(act))


def up(channels: int, mode: UpMode) -> nn.Module:
    """Return the doubling of rows and columns; raises ``ValueError`` for an unknown mode."""
    if mode == "transpose":
        return nn.ConvTranspose2d(channels, channels, 2, stride=2)
    if mode == "bilinear":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(channels, channels, 1))
    raise ValueError(f"Unknown up mode {mode!r}: transpose and bilinear are there.")


def parts(stage: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the two parts of a stage: block and pooling of the encoder, rise and block of the decoder."""
    assert isinstance(stage, nn.Sequential)  # all stages but the last rise are
    first, second = stage
    return first, second


class UNet(nn.Module):
    """A U-Net with summed skips whose output is a correction of its first input channel (docs/methods/resdepth.md).

    Encoder blocks are kept before pooling; the last decoder stage is the bare up-sampling, so that everything after
    the last activation is linear.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        filters = config.filters
        inputs = (config.n_input_channels, *filters[:-1])
        norm = config.do_BN
        self.encoder = nn.ModuleList(
            nn.Sequential(conv_block(fan_in, fan_out, config.act_fn_encoder, norm), nn.MaxPool2d(2))
            for fan_in, fan_out in zip(inputs, filters, strict=True)
        )
        self.bottleneck = conv_block(filters[-1], filters[-1], config.act_fn_bottleneck, norm)
        reverse = filters[::-1]
        self.decoder = nn.ModuleList(
            nn.Sequential(up(wide, config.up_mode), conv_block(wide, narrow, config.act_fn_decoder, norm))
            for wide, narrow in itertools.pairwise(reverse)
        )
        self.decoder.append(up(filters[0], config.up_mode))
        outputs = 2 if config.uncertainty else 1
        self.last_layer = nn.Conv2d(filters[0], outputs, 3, padding=1, bias=config.bias_conv_layer)
        self.layer_outer_skip = (
            nn.Sequential(nn.BatchNorm2d(1)) if config.outer_skip and config.outer_skip_BN else nn.Sequential()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return heights [B, 1, H, W] from inputs [B, C, H, W], both normalised; H and W multiples of 2^depth.

        With ``uncertainty`` the output is [B, 2, H, W]: heights, and the logarithm of their Laplace scale.
        """
        skips = []
        y = x
        for stage in self.encoder:
            block, pool = parts(stage)
            y = block(y)
            skips.append(y)
            y = pool(y)
        y = self.bottleneck(y)
        *stages, last_up = self.decoder
        for stage in stages:
            rise, block = parts(stage)
            y = block(rise(y) + skips.pop())
        out: Tensor = self.last_layer(last_up(y) + skips.pop())
        if not self.config.outer_skip:
            return out
        heights: Tensor = out[:, :1] + self.layer_outer_skip(x[:, :1])
        return torch.cat([heights, out[:, 1:]], dim=1) if self.config.uncertainty else heights
