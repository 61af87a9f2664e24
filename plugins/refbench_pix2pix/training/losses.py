"""Adversarial and reconstruction losses, and the optional terms on edges and surface normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench_pix2pix.config import GanMode

EDGE_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
EDGE_Y = ((0.0, 1.0, 2.0), (-1.0, 0.0, 1.0), (-2.0, -1.0, 0.0))
"""As published: a diagonal kernel, though its name says vertical."""
PENALTY_EPS = 1e-16


def adversarial(logits: Tensor, real: bool, mode: GanMode) -> Tensor:
    """Return how far logits are from saying ``real``: cross-entropy, squared distance, or their signed mean.

    ``logits`` is [B, 1, h, w], the loss a scalar.
    """
    if mode == "wgangp":
        return -logits.mean() if real else logits.mean()
    label = torch.full_like(logits, float(real))
    if mode == "lsgan":
        return functional.mse_loss(logits, label)
    return functional.binary_cross_entropy_with_logits(logits, label)


def gradient_penalty(
    discriminate: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    mix: Tensor | None = None,
    weight: float = 10.0,
    constant: float = 1.0,
) -> Tensor:
    """Return WGAN-GP's penalty: squared distance of the gradient's norm from ``constant``, times ``weight``.

    Evaluated between the samples: ``mix`` [B] in [0, 1] is the fraction of ``real``; None takes ``real`` itself.
    """
    fraction = torch.ones(len(real), device=real.device) if mix is None else mix
    fraction = fraction.reshape(-1, 1, 1, 1)
    between = (fraction * real + (1 - fraction) * fake).detach().requires_grad_()
    logits = discriminate(between)
    (gradient,) = torch.autograd.grad(logits, between, torch.ones_like(logits), create_graph=True)
    norms = (gradient.flatten(1) + PENALTY_EPS).norm(2, dim=1)
    penalty: Tensor = ((norms - constant) ** 2).mean() * weight
    return penalty


def edge_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Return the squared difference of the responses to the two published edge kernels, without padding.

    Tiles are [B, 1, H, W], normalised heights in [-1, 1]; the loss is a scalar.
    """
    kernels = torch.tensor([EDGE_X, EDGE_Y], dtype=fake.dtype, device=fake.device)[:, None]
    found, wanted = functional.conv2d(fake, kernels), functional.conv2d(real, kernels)
    return functional.mse_loss(found[:, :1], wanted[:, :1]) + functional.mse_loss(found[:, 1:], wanted[:, 1:])


def normal_loss(fake: Tensor, real: Tensor, pixels_per_unit: Tensor) -> Tensor:
    """Return 1 - cosine of the angle between surface normals, averaged (Bittner et al., Remote Sensing 2019).

    Parameters
    ----------
    fake, real
        Heights in network units [B, 1, H, W].
    pixels_per_unit
        How many pixels long one network unit of height is, [B].
    """
    scale = pixels_per_unit.reshape(-1, 1, 1, 1)
    return (1 - functional.cosine_similarity(_normals(fake * scale), _normals(real * scale), dim=1)).mean()


def _normals(heights: Tensor) -> Tensor:
    """Return normals [B, 3, H - 2, W - 2], not normalised, of heights in pixels."""
    dx = (heights[..., 1:-1, 2:] - heights[..., 1:-1, :-2]) / 2
    dy = (heights[..., 2:, 1:-1] - heights[..., :-2, 1:-1]) / 2
    return torch.cat([-dx, -dy, torch.ones_like(dx)], dim=1)
