"""The generator: an 8-level U-Net with summed skips. State-dict keys are the published ones."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from refbench_pix2pix.config import GeneratorConfig

LEVELS = 8
LEAK = 0.2
WIDTHS = (1, 2, 4, 8, 8, 8, 8, 8)
"""Channels of the encoder's levels in units of ``ngf``, from the full resolution down."""
DROPOUT_BLOCKS = (2, 3, 4)


def _conv(fan_in: int, fan_out: int) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=False)


def _rise(fan_in: int, fan_out: int, *, bias: bool = False) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, bias=bias)


class Generator(nn.Module):
    """Maps [B, input_nc, H, W] in [-1, 1] to [B, output_nc, H, W] in [-1, 1]; H and W are multiples of 256.

    A skip carries what the next encoder block made of it: its leading activation works in place in the published
    code, so the sum sees activated values (docs/methods/pix2pix.md, Generator).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.ngf * factor for factor in WIDTHS]
        self.downblock_8 = nn.Sequential(_conv(config.input_nc, widths[0]))
        for number, (fan_in, fan_out) in zip(range(LEVELS - 1, 0, -1), itertools.pairwise(widths), strict=True):
            norm = [nn.BatchNorm2d(fan_out)] if number > 1 else []
            self.add_module(f"downblock_{number}", nn.Sequential(nn.LeakyReLU(LEAK), _conv(fan_in, fan_out), *norm))
        rising = [*widths[::-1], config.output_nc]
        for number, (fan_in, fan_out) in enumerate(itertools.pairwise(rising), 1):
            if number == LEVELS:
                break
            drop = [nn.Dropout(0.5)] if number in DROPOUT_BLOCKS and not config.no_dropout else []
            block = nn.Sequential(nn.ReLU(), _rise(fan_in, fan_out), nn.BatchNorm2d(fan_out), *drop)
            self.add_module(f"upblock_{number}", block)
        self.upblock_8 = nn.Sequential(nn.ReLU(), _rise(widths[0], config.output_nc, bias=True), nn.Tanh())

    def block(self, name: str) -> nn.Sequential:
        """Return a block of layers by its published name."""
        found = self.get_submodule(name)
        assert isinstance(found, nn.Sequential)  # all blocks are
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return the refined tiles. [B, 1, H, W], normalised heights in [-1, 1]."""
        y = self.downblock_8(x)
        skips = []
        for number in range(LEVELS - 1, 0, -1):
            skips.append(functional.leaky_relu(y, LEAK))
            block = self.block(f"downblock_{number}")
            y = block[1:](skips[-1])
        for number in range(1, LEVELS):
            y = skips.pop() + self.get_submodule(f"upblock_{number}")(y)
        out: Tensor = self.upblock_8(y)
        return out
