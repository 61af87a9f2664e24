"""The image encoder: ResNet-18 or -50 under torchvision's key names, five maps out (docs/methods/immpi.md, Network)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_immpi.config import NetworkConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
EXPANSION = {"resnet18": 1, "resnet50": 4}


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map. Features [N, C, h, w] without a unit."""
        found = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        found = self.bn2(self.conv2(found))
        return functional.relu(found + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (which carries the stride) and 1 x 1 convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // EXPANSION["resnet50"]
        self.conv1, self.bn1 = _conv(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3, stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = _conv(inner, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map. Features [N, C, h, w] without a unit."""
        found = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        found = functional.relu(self.bn2(self.conv2(found)), inplace=True)
        found = self.bn3(self.conv3(found))
        return functional.relu(found + (x if self.downsample is None else self.downsample(x)), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """The residual network; ``fc`` is there for its keys only."""

    def __init__(self, kind: str, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        block = BasicBlock if kind == "resnet18" else Bottleneck
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for level, (number, outputs) in enumerate(zip(DEPTHS[kind], widths[1:], strict=True), start=1):
            blocks = [block(inputs, outputs, 1 if level == 1 else 2)]
            blocks += [block(outputs, outputs, 1) for _ in range(number - 1)]
            self.add_module(f"layer{level}", nn.Sequential(*blocks))
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)


class FeatureGenerator(nn.Module):
    """Five maps of an image [B, 3, H, W] in [0, 1], at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = ResNet(config.encoder, config.encoder_widths, config.classes)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps, the largest first. Features [N, C, h, w] without a unit."""
        net = self.encoder
        mean, std = (torch.tensor(v, device=image.device).reshape(1, 3, 1, 1) for v in (MEAN, STD))
        x = functional.relu(net.bn1(net.conv1((image - mean) / std)))
        maps = [x]
        x = functional.max_pool2d(x, 3, 2, 1)
        for level in (1, 2, 3, 4):
            x = getattr(net, f"layer{level}")(x)
            maps.append(x)
        return maps
