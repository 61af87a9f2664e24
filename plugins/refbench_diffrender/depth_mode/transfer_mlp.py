"""The depth transfer function (docs/methods/diffrender.md): a small network that scales and shifts depth."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

Activation = Literal["relu", "tanh", "sigmoid"]
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
LEAST_SCALE = 1e-8


def encoding(uv: Tensor, z: Tensor, frequencies: tuple[int, int]) -> Tensor:
    """Return [N, 3 + 2 f_uv + f_z]: uv [N, 2] and its sines, z [N, 1] and its sines, the frequency pi 2^i, i from 1.

    ``uv`` lies in [0, 1]; ``z`` is a depth in metres or its fraction of a span.
    """
    parts = [uv, *(torch.sin(math.pi * 2**i * uv) for i in range(1, frequencies[0] + 1))]
    parts += [z, *(torch.sin(math.pi * 2**i * z) for i in range(1, frequencies[1] + 1))]
    return torch.cat(parts, dim=-1)


class TransferFunction(nn.Sequential):
    """uv in [0, 1] and depth in metres -> depth in metres: ``|z| max(|1 + o0|, 1e-8) + o1``.

    ``compat`` encodes the depth in metres as published, so that the encoding repeats every metre, and begins with
    noise; else the depth enters as a fraction of ``span`` (nearest, farthest) and the function begins as the identity.
    Weights are drawn on the CPU, so that they are the same wherever it runs.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (16, 16),
        frequencies: tuple[int, int] = (3, 5),
        activation: Activation = "relu",
        *,
        init_std: float = 0.1,
        span: tuple[float, float] = (0.0, 1.0),
        compat: bool = False,
    ) -> None:
        widths = [3 + 2 * frequencies[0] + frequencies[1], *hidden, 2]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs, device="cpu"), _ACTIVATIONS[activation]()]
        super().__init__(*layers[:-1])
        self.frequencies, self.span, self.compat = frequencies, span, compat
        with torch.no_grad():
            linear = [layer for layer in self if isinstance(layer, nn.Linear)]
            for layer in linear:
                layer.weight.normal_(0, init_std)
                layer.bias.normal_(0, init_std)
            if not compat:
                linear[-1].weight.zero_()
                linear[-1].bias.zero_()

    def depth(self, uv: Tensor, z: Tensor) -> Tensor:
        """Return depths [N, 1] at ``uv`` [N, 2] of depths ``z`` [N, 1] of either sign, metres."""
        z = z.abs()
        seen = z if self.compat else (z - self.span[0]) / (self.span[1] - self.span[0])
        found: Tensor = self(encoding(uv, seen, self.frequencies))
        return z * (1 + found[:, :1]).abs().clamp(min=LEAST_SCALE) + found[:, 1:]
