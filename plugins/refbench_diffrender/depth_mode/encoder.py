"""The feature encoder of IBRNet, under its published key names (docs/methods/diffrender.md); frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from refbench.contracts.errors import WeightsError
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.state_dict import load_state

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = ((64, 3), (128, 4), (256, 6))
KEY = "feature_net"


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=bias, padding_mode="reflect")


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=False)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), _norm(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3), _norm(outputs)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        found = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(found + (x if self.downsample is None else self.downsample(x)))


class _ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.bn = _conv(inputs, outputs, 3, bias=True), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.elu(self.bn(self.conv(x)))


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        return found


def _joined(grown: Tensor, skipped: Tensor) -> Tensor:
    """Return [grown, skipped]: the skipped map is padded with zeros to the size of the grown one."""
    rows, cols = (a - b for a, b in zip(grown.shape[2:], skipped.shape[2:], strict=True))
    return torch.cat([grown, functional.pad(skipped, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))], 1)


class FeatureEncoder(nn.Module):
    """An image [B, 3, h, w] in [0, 1] -> coarse and fine features at a quarter of its size."""

    def __init__(self, coarse: int = 32, fine: int = 32) -> None:
        super().__init__()
        self.coarse, total = coarse, coarse + fine
        self.conv1, self.bn1 = _conv(3, 64, 7, 2), _norm(64)
        inputs = 64
        for level, (outputs, number) in enumerate(BLOCKS, 1):
            blocks = [_Block(inputs, outputs, 2), *(_Block(outputs, outputs, 1) for _ in range(number - 1))]
            self.add_module(f"layer{level}", nn.Sequential(*blocks))
            inputs = outputs
        self.upconv3, self.iconv3 = _Up(256, 128), _ConvNorm(256, 128)
        self.upconv2, self.iconv2 = _Up(128, 64), _ConvNorm(128, total)
        self.out_conv = nn.Conv2d(total, total, 1)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return coarse and fine features [B, C, h', w']."""
        x = functional.relu(self.bn1(self.conv1(image)))
        first = self.get_submodule("layer1")(x)
        second = self.get_submodule("layer2")(first)
        x = self.upconv3(self.get_submodule("layer3")(second))
        x = self.iconv3(_joined(x, second))
        x = self.iconv2(_joined(self.upconv2(x), first))
        x = self.out_conv(x)
        return x[:, : self.coarse], x[:, self.coarse :]


def read_encoder(path: Path) -> FeatureEncoder:
    """Return the encoder of an IBRNet checkpoint; its other networks are left alone.

    Raises
    ------
    WeightsError
        Damaged, a pickle that wants to run code, or no checkpoint of IBRNet.
    """
    state = read_checkpoint(path).get(KEY)
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no {KEY}; give IBRNet's checkpoint, such as model_255000.pth.")
    tensors = {str(name).removeprefix("module."): value.contiguous() for name, value in state.items()}
    hint = "give IBRNet's checkpoint, such as model_255000.pth"
    return load_state(FeatureEncoder, tensors, path, hint).requires_grad_(False).eval()
