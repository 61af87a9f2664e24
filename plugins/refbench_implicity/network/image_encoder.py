"""Image encoder: a stacked hourglass over the ortho images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from refbench_implicity.config import ImageEncoderConfig

WIDTH = 256
GROUPS = 32


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(GROUPS, channels) if kind == "group" else nn.BatchNorm2d(channels)


class ConvBlock(nn.Module):
    """Pre-activation block whose three convolutions are concatenated (halves, quarters) and added to the input."""

    def __init__(self, channels_in: int, channels_out: int, norm: str) -> None:
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        self.conv1 = nn.Conv2d(channels_in, half, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.bn1 = _norm(norm, channels_in)
        self.bn2 = _norm(norm, half)
        self.bn3 = _norm(norm, quarter)
        # One module under two names, as in the published files; unused where the channels stay the same.
        self.bn4 = _norm(norm, channels_in)
        self.downsample: nn.Module | None = None
        if channels_in != channels_out:
            self.downsample = nn.Sequential(self.bn4, nn.ReLU(), nn.Conv2d(channels_in, channels_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, channels_out, H, W] of ``x`` [B, channels_in, H, W]. Features [B, C, H, W] without a unit."""
        y1 = self.conv1(torch.relu(self.bn1(x)))
        y2 = self.conv2(torch.relu(self.bn2(y1)))
        y3 = self.conv3(torch.relu(self.bn3(y2)))
        return torch.cat((y1, y2, y3), dim=1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Blocks at ``depth`` halved resolutions, added on the way up."""

    def __init__(self, depth: int, norm: str) -> None:
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            self.add_module(f"b1_{level}", ConvBlock(WIDTH, WIDTH, norm))
            self.add_module(f"b2_{level}", ConvBlock(WIDTH, WIDTH, norm))
            if level == 1:
                self.add_module("b2_plus_1", ConvBlock(WIDTH, WIDTH, norm))
        for level in range(1, depth + 1):
            self.add_module(f"b3_{level}", ConvBlock(WIDTH, WIDTH, norm))

    def _level(self, level: int, x: Tensor) -> Tensor:
        up = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else self.get_submodule("b2_plus_1")(low)
        low = self.get_submodule(f"b3_{level}")(low)
        found: Tensor = up + F.interpolate(low, scale_factor=2, mode="bicubic", align_corners=True)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``; rows and columns must be multiples of ``2 ** depth``."""
        return self._level(self.depth, x)


class ImageEncoder(nn.Module):
    """Images [B, n, H, W] to features [B, C, H / 4, W / 4], both north-up."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        norm, self.down = config.norm, config.hg_down
        self.num_stack = config.num_stack
        self.conv1 = nn.Conv2d(config.in_channel, 64, 7, stride=2, padding=3)
        self.bn1 = _norm(norm, 64)
        self.conv2 = ConvBlock(64, 64 if self.down == "conv64" else 128, norm)
        if self.down != "ave_pool":
            self.down_conv2 = nn.Conv2d(64 if self.down == "conv64" else 128, 128, 3, stride=2, padding=1)
        self.conv3 = ConvBlock(128, 128, norm)
        self.conv4 = ConvBlock(128, WIDTH, norm)
        for i in range(config.num_stack):
            self.add_module(f"m{i}", Hourglass(config.num_hourglass, norm))
            self.add_module(f"top_m_{i}", ConvBlock(WIDTH, WIDTH, norm))
            self.add_module(f"conv_last{i}", nn.Conv2d(WIDTH, WIDTH, 1))
            self.add_module(f"bn_end{i}", _norm(norm, WIDTH))
            self.add_module(f"l{i}", nn.Conv2d(WIDTH, config.feature_dim, 1))
            if i < config.num_stack - 1:
                self.add_module(f"bl{i}", nn.Conv2d(WIDTH, WIDTH, 1))
                self.add_module(f"al{i}", nn.Conv2d(config.feature_dim, WIDTH, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of the last stack. Features [B, C, H, W] without a unit."""
        x = self.conv2(torch.relu(self.bn1(self.conv1(image))))
        x = F.avg_pool2d(x, 2) if self.down == "ave_pool" else self.down_conv2(x)
        previous = self.conv4(self.conv3(x))
        out: Tensor = previous
        for i in range(self.num_stack):
            part = self.get_submodule
            top = part(f"top_m_{i}")(part(f"m{i}")(previous))
            hidden = torch.relu(part(f"bn_end{i}")(part(f"conv_last{i}")(top)))
            out = part(f"l{i}")(hidden)
            if i < self.num_stack - 1:
                previous = previous + part(f"bl{i}")(hidden) + part(f"al{i}")(out)
        return out
