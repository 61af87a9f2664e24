"""Where planes stand, and what the network is told of them (docs/methods/immpi.md). Letters: B batch, D planes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

FREQUENCIES = 10
LENGTH = 1 + 2 * FREQUENCIES
"""Numbers in the encoding of a plane."""
FIRST, LAST = 0.01, 1.0
Encoding = Literal["scrambled", "sane"]


def hypotheses(planes: int) -> Tensor:
    """Return the normalised indices of planes, float32 [D]; they know nothing of the scene."""
    return torch.linspace(FIRST, LAST, planes)


def plane_encoding(planes: int, kind: Encoding) -> Tensor:
    """Return the encoding of every plane, float32 [D, 21].

    ``scrambled`` is what the published weights were trained with: the functions of all planes are joined function by
    function and cut into rows of 21, so a row mixes planes and depends on their number. ``sane`` gives each plane its
    own 21 functions.
    """
    index = hypotheses(planes)
    functions = [index]
    for power in range(FREQUENCIES):
        functions += [torch.sin(index * 2**power), torch.cos(index * 2**power)]
    stacked = torch.stack(functions)
    return stacked.reshape(planes, LENGTH) if kind == "scrambled" else stacked.T.contiguous()


def inverse_depth_planes(near: Tensor, far: Tensor, planes: int) -> Tensor:
    """Return depths [B, D] from ``near`` to ``far`` [B], even in inverse depth, scene units."""
    fraction = torch.linspace(0.0, 1.0, planes, dtype=torch.float64, device=near.device)
    first, last = 1 / near.double()[:, None], 1 / far.double()[:, None]
    return (1 / (first + (last - first) * fraction)).float()
