"""Occupancy decoder: logits of query points from the feature planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refbench_implicity.network.point_encoder import ResBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_implicity.config import DecoderConfig

LEAK = 0.2


def sample_plane(plane: Tensor, xy: Tensor, mode: str) -> Tensor:
    """Read a plane at points of the patch frame.

    Parameters
    ----------
    plane
        [B, C, R, R], row 0 in the south.
    xy
        [B, M, 2] in [0, 1]: 0 is the centre of the first cell and 1 that of the last, as published.
    mode
        ``bilinear`` or ``nearest``.

    Returns
    -------
    Tensor
        [B, M, C].
    """
    grid = (2.0 * xy - 1.0).unsqueeze(2)
    read = F.grid_sample(plane, grid, mode=mode, padding_mode="border", align_corners=True)
    return read.squeeze(-1).transpose(1, 2)


class Decoder(nn.Module):
    """Residual MLP; the plane feature enters before every block."""

    def __init__(self, config: DecoderConfig, out_dim: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.sample_mode = config.sample_mode
        self.leaky = config.leaky
        self.fc_c = nn.ModuleList(nn.Linear(config.feature_dim, width) for _ in range(config.n_blocks))
        self.fc_p = nn.Linear(3, width)
        self.blocks = nn.ModuleList(ResBlock(width, width) for _ in range(config.n_blocks))
        self.fc_out = nn.Linear(width, out_dim)

    def features(self, planes: Sequence[Tensor], xy: Tensor) -> Tensor:
        """Return the sum over planes of their features [B, M, C] at ``xy`` [B, M, 2]."""
        read = sample_plane(planes[0], xy, self.sample_mode)
        for plane in planes[1:]:
            read = read + sample_plane(plane, xy, self.sample_mode)
        return read

    def forward(self, planes: Sequence[Tensor], query: Tensor) -> Tensor:
        """Return logits [B, M, out_dim] at ``query`` [B, M, 3] in the normalised patch frame."""
        feature = self.features(planes, query[..., :2])
        net = self.fc_p(query)
        for fc_c, block in zip(self.fc_c, self.blocks, strict=True):
            net = block(net + fc_c(feature))
        found: Tensor = self.fc_out(F.leaky_relu(net, LEAK) if self.leaky else torch.relu(net))
        return found
