"""The generator for inference: batch normalisation folded into the convolutions, several tiles at once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from refbench_pix2pix.network.network import LEAK, LEVELS

if TYPE_CHECKING:
    from refbench.training.settings import Precision
    from refbench_pix2pix.network.network import Generator

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class FusedGenerator:
    """A callable that gives what ``Generator`` in evaluation mode gives, within 1e-4 in float32.

    Raises ``ValueError`` for a network in training mode.
    """

    def __init__(self, net: Generator, precision: Precision = "float32", device: torch.device | None = None) -> None:
        if net.training:
            raise ValueError("Only a network in evaluation mode can be fused.")
        self.device, self.dtype = device or torch.device("cpu"), DTYPES[precision]
        self._down = [self._placed(net.downblock_8[0])]
        for number in range(LEVELS - 1, 0, -1):
            _, conv, *norm = net.block(f"downblock_{number}")
            self._down.append(self._placed(conv, *norm))
        self._up = []
        for number in range(1, LEVELS):
            _, rise, normed, *_ = net.block(f"upblock_{number}")
            self._up.append(self._placed(rise, normed))
        self._last = self._placed(net.upblock_8[1])

    def _placed(self, conv: nn.Module, norm: nn.Module | None = None) -> nn.Module:
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)  # by the order of a block's layers
        folded: nn.Module
        if isinstance(norm, nn.BatchNorm2d):
            folded = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
        else:
            folded = copy.deepcopy(conv)
        return folded.to(self.device, self.dtype)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Return the refined tiles [B, output_nc, H, W] float32 of [B, input_nc, H, W] float32."""
        y = self._down[0](x.to(self.device, self.dtype))
        skips = []
        for down in self._down[1:]:
            y = functional.leaky_relu_(y, LEAK)
            skips.append(y)
            y = down(y)
        for up in self._up:
            y = up(functional.relu_(y)).add_(skips.pop())
        return torch.tanh(self._last(functional.relu_(y))).float()
