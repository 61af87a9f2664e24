"""Point encoder: a local PointNet whose features are pooled into a plane and spread by a U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refbench.geometry.torch_scatter_ops import scatter_max, scatter_mean

if TYPE_CHECKING:
    from refbench_implicity.config import PointEncoderConfig, UNetConfig


class ResBlock(nn.Module):
    """Pre-activation residual block of two linear layers; starts as its shortcut."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        hidden = min(size_in, size_out)
        self.fc_0 = nn.Linear(size_in, hidden)
        self.fc_1 = nn.Linear(hidden, size_out)
        self.shortcut = nn.Linear(size_in, size_out, bias=False) if size_in != size_out else None
        nn.init.zeros_(self.fc_1.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., size_out] of ``x`` [..., size_in]. Features without a unit."""
        residual = self.fc_1(torch.relu(self.fc_0(torch.relu(x))))
        found: Tensor = (x if self.shortcut is None else self.shortcut(x)) + residual
        return found


class PointEncoder(nn.Module):
    """Points in the patch frame to a feature plane [B, C, R, R], row 0 in the south."""

    def __init__(self, config: PointEncoderConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.resolution = config.plane_resolution
        self.pool = scatter_max if config.scatter_type == "max" else scatter_mean
        self.fc_pos = nn.Linear(3, 2 * hidden)
        self.blocks = nn.ModuleList(ResBlock(2 * hidden, hidden) for _ in range(config.n_blocks))
        self.fc_c = nn.Linear(hidden, config.feature_dim)
        self.unet = None if config.unet is None else UNet(config.feature_dim, config.unet)

    def cells(self, points: Tensor) -> Tensor:
        """Return the plane cell of each point, int64 [B * N], counted through the batch."""
        index = (points[..., :2] * self.resolution).long()
        flat = index[..., 0] + self.resolution * index[..., 1]
        first = torch.arange(points.shape[0], device=points.device) * self.resolution**2
        return (flat + first[:, None]).reshape(-1)

    def point_features(self, points: Tensor) -> Tensor:
        """Return features [B, N, C] of points [B, N, 3] in the open unit square."""
        batch, count, _ = points.shape
        cells = self.cells(points)
        size = batch * self.resolution**2
        net = self.blocks[0](self.fc_pos(points.reshape(batch * count, 3)))
        for block in self.blocks[1:]:
            pooled = self.pool(net, cells, size)[cells]
            net = block(torch.cat((net, pooled), dim=1))
        found: Tensor = self.fc_c(torch.relu(net)).reshape(batch, count, -1)
        return found

    def scatter(self, points: Tensor, features: Tensor) -> Tensor:
        """Return the plane [B, C, R, R] of the mean feature per cell; empty cells are 0."""
        batch = points.shape[0]
        size = batch * self.resolution**2
        mean = scatter_mean(features.reshape(-1, features.shape[-1]), self.cells(points), size)
        return mean.reshape(batch, self.resolution, self.resolution, -1).permute(0, 3, 1, 2).contiguous()

    def forward(self, points: Tensor) -> Tensor:
        """Return the feature plane [B, C, R, R] of points [B, N, 3]."""
        plane = self.scatter(points, self.point_features(points))
        return plane if self.unet is None else self.unet(plane)


class UNet(nn.Module):
    """U-Net without normalisation layers; in and out have the same number of channels."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        widths = [config.start_filts * 2**level for level in range(config.depth)]
        ins = [channels, *widths[:-1]]
        self.down_convs = nn.ModuleList(_Down(i, o) for i, o in zip(ins, widths, strict=True))
        self.up_convs = nn.ModuleList(_Up(width, config) for width in widths[:0:-1])
        self.conv_final = nn.Conv2d(widths[0], channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return a plane of the shape of ``x`` [B, C, R, R]. Features without a unit."""
        skips = []
        for level, down in enumerate(self.down_convs):
            x = down(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, skip in zip(self.up_convs, reversed(skips[:-1]), strict=True):
            x = up(x, skip)
        found: Tensor = self.conv_final(x)
        return found


class _Down(nn.Module):
    """Two 3 x 3 convolutions."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x))))


class _Up(nn.Module):
    """Twofold upsampling to half the channels, merge with the skip, two 3 x 3 convolutions."""

    def __init__(self, channels_in: int, config: UNetConfig) -> None:
        super().__init__()
        half = channels_in // 2
        self.concat = config.merge_mode == "concat"
        self.upconv: nn.Module
        if config.up_mode == "transpose":
            self.upconv = nn.ConvTranspose2d(channels_in, half, 2, stride=2)
        else:
            self.upconv = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(channels_in, half, 1)
            )
        self.conv1 = nn.Conv2d(channels_in if self.concat else half, half, 3, padding=1)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = self.upconv(x)
        merged = torch.cat((up, skip), dim=1) if self.concat else up + skip
        return torch.relu(self.conv2(torch.relu(self.conv1(merged))))
