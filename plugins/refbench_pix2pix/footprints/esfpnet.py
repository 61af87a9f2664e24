"""ESFPNet (Chang et al., arXiv 2207.07759): a Mix Transformer backbone with a stage-wise feature pyramid.

It finds buildings in an 8-bit DSM. Names of the parameters are those of the published files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = 4
Four = tuple[int, int, int, int]
HEADS: Four = (1, 2, 5, 8)
_NARROW: Four = (32, 64, 160, 256)
_WIDE: Four = (64, 128, 320, 512)


@dataclass(frozen=True)
class EsfpConfig:
    """Widths, blocks, attention heads, reduction of keys and values, and MLP factor of the four stages."""

    widths: Four
    depths: Four
    heads: Four = HEADS
    reductions: Four = (8, 4, 2, 1)
    mlp_ratios: Four = (4, 4, 4, 4)


SIZES = {
    "b0": EsfpConfig(_NARROW, (2, 2, 2, 2)),
    "b1": EsfpConfig(_WIDE, (2, 2, 2, 2)),
    "b2": EsfpConfig(_WIDE, (3, 4, 6, 3)),
    "b3": EsfpConfig(_WIDE, (3, 4, 18, 3)),
    "b4": EsfpConfig(_WIDE, (3, 8, 27, 3)),
    "b5": EsfpConfig(_WIDE, (3, 6, 40, 3)),
}
"""The published sizes of the backbone."""


class EsfpNet(nn.Module):
    """Backbone and decoder: [B, 3, H, W] normalised RGB to building logits [B, 1, H, W]; H, W multiples of 32."""

    def __init__(self, config: EsfpConfig) -> None:
        super().__init__()
        self.config = config
        one, two, three, four = config.widths
        self.backbone = MixTransformer(config)
        self.LP_1, self.LP_2, self.LP_3, self.LP_4 = (Projection(width) for width in config.widths)
        self.linear_fuse34 = Fuse(three + four, three)
        self.linear_fuse23 = Fuse(two + three, two)
        self.linear_fuse12 = Fuse(one + two, one)
        self.LP_12, self.LP_23, self.LP_34 = Projection(one), Projection(two), Projection(three)
        self.linear_pred = nn.Conv2d(sum(config.widths), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits. Features [B, C, H, W] or [B, N, C] without a unit."""
        first, second, third, fourth = self.backbone(x)
        lp4 = self.LP_4(fourth)
        lp34 = self.LP_34(self.linear_fuse34(torch.cat([self.LP_3(third), _larger(lp4, 2)], 1)))
        lp23 = self.LP_23(self.linear_fuse23(torch.cat([self.LP_2(second), _larger(lp34, 2)], 1)))
        lp12 = self.LP_12(self.linear_fuse12(torch.cat([self.LP_1(first), _larger(lp23, 2)], 1)))
        pyramid = torch.cat([lp12, _larger(lp23, 2), _larger(lp34, 4), _larger(lp4, 8)], 1)
        return functional.interpolate(self.linear_pred(pyramid), scale_factor=4, mode="bilinear", align_corners=True)


class MixTransformer(nn.Module):
    """Four stages, each a patch embedding, transformer blocks and a norm; returns the four feature maps."""

    def __init__(self, config: EsfpConfig) -> None:
        super().__init__()
        inputs = 3
        for stage in range(STAGES):
            width = config.widths[stage]
            kernel, stride = (7, 4) if stage == 0 else (3, 2)
            setattr(self, f"patch_embed{stage + 1}", PatchEmbedding(inputs, width, kernel, stride))
            blocks = [
                Block(width, config.heads[stage], config.reductions[stage], config.mlp_ratios[stage])
                for _ in range(config.depths[stage])
            ]
            setattr(self, f"block{stage + 1}", nn.ModuleList(blocks))
            setattr(self, f"norm{stage + 1}", nn.LayerNorm(width, eps=1e-6))
            inputs = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features [B, C, H / s, W / s] at strides 4, 8, 16, 32."""
        found = []
        for stage in range(1, STAGES + 1):
            tokens, shape = cast("PatchEmbedding", self.get_submodule(f"patch_embed{stage}"))(x)
            for block in cast("nn.ModuleList", self.get_submodule(f"block{stage}")):
                tokens = block(tokens, shape)
            x = _map(self.get_submodule(f"norm{stage}")(tokens), shape)
            found.append(x)
        return found


class PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution and a norm."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return tokens [B, N, C] and the (rows, cols) that they came from.

        Features [B, C, H, W] or [B, N, C] without a unit.
        """
        x = self.proj(x)
        return cast("Tensor", self.norm(_tokens(x))), (x.shape[2], x.shape[3])


class Block(nn.Module):
    """Attention and MLP, each after a norm and added to its input. Stochastic depth is for training only."""

    def __init__(self, width: int, heads: int, reduction: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MixMlp(width, width * mlp_ratio)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return tokens of the same shape. Features [B, C, H, W] or [B, N, C] without a unit."""
        tokens = tokens + self.attn(self.norm1(tokens), shape)
        return cast("Tensor", tokens + self.mlp(self.norm2(tokens), shape))


class Attention(nn.Module):
    """Self-attention whose keys and values come from a map that is ``reduction`` times smaller."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return tokens of the same shape. Features [B, C, H, W] or [B, N, C] without a unit."""
        batch, count, width = tokens.shape
        source = self.norm(_tokens(self.sr(_map(tokens, shape)))) if self.reduction > 1 else tokens
        query = self.q(tokens).view(batch, count, self.heads, -1).transpose(1, 2)
        key, value = self.kv(source).view(batch, -1, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        return cast("Tensor", self.proj(found.transpose(1, 2).reshape(batch, count, width)))


class MixMlp(nn.Module):
    """Two linear layers with a depthwise convolution between them, which tells the tokens where they are."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = Depthwise(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return tokens of the same shape. Features [B, C, H, W] or [B, N, C] without a unit."""
        hidden = _tokens(self.dwconv(_map(self.fc1(tokens), shape)))
        return cast("Tensor", self.fc2(functional.gelu(hidden)))


class Depthwise(nn.Module):
    """A 3 x 3 convolution of every channel for itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, 1, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape. Features [B, C, H, W] or [B, N, C] without a unit."""
        return cast("Tensor", self.dwconv(x))


class Projection(nn.Module):
    """A linear layer at every pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape. Features [B, C, H, W] or [B, N, C] without a unit."""
        return _map(self.proj(_tokens(x)), (x.shape[2], x.shape[3]))


class Fuse(nn.Module):
    """1 x 1 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of ``width`` channels. Features [B, C, H, W] or [B, N, C] without a unit."""
        return functional.relu(self.bn(self.conv(x)))


def _tokens(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H W, C]."""
    return x.flatten(2).transpose(1, 2)


def _map(tokens: Tensor, shape: tuple[int, int]) -> Tensor:
    """[B, H W, C] to [B, C, H, W]."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *shape)


def _larger(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
