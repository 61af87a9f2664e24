"""Photometric terms that bear what a squared difference does not: occlusion, highlights, changed light.

Images are [B, rows, cols, C] in [0, 1]; ``visible`` [B, rows, cols, 1] is 1 (or a weight) where the target sees the
surface. Every term is a mean over what is visible, 0 where nothing is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from refbench_diffrender.losses.filters import correlate
from refbench_diffrender.losses.fused_loss import FusedLoss, require_sizes, runs_compiled
from refbench_diffrender.rasteriser.autograd import applied

if TYPE_CHECKING:
    from torch import Tensor

Penalty = Literal["charbonnier", "huber"]
Patch = Literal["ssim", "ncc"]

SCALE = 0.05
"""Colour difference from which on a penalty grows linearly."""
SSIM_LIGHT, SSIM_CONTRAST = 0.01**2, 0.03**2
FLAT = 1e-4
"""Added to the variances of a patch: flat ones correlate with nothing."""


def penalty_loss(
    found: Tensor, wanted: Tensor, visible: Tensor, *, penalty: Penalty = "charbonnier", scale: float = SCALE
) -> Tensor:
    """Return the mean penalty of colour differences, in units of colour: quadratic near 0, linear beyond ``scale``.

    Images are [B, rows, cols, C] in [0, 1], ``visible`` [B, rows, cols, 1] is 1 or a weight.
    """
    rest = found - wanted
    if penalty == "charbonnier":
        cost = charbonnier(rest, scale)
    else:
        cost = functional.huber_loss(found, wanted, reduction="none", delta=scale) / scale
    return _mean(cost, visible)


def charbonnier(values: Tensor, scale: float) -> Tensor:
    """Return the penalty of values in any shape: about v^2 / (2 ``scale``) near 0, |v| from ``scale`` on.

    In the unit of the values, such as colours in [0, 1].
    """
    return torch.sqrt(values**2 + scale**2) - scale


def patch_loss(found: Tensor, wanted: Tensor, visible: Tensor, *, patch: Patch = "ssim", size: int = 7) -> Tensor:
    """Return how dissimilar the brightness of patches around visible pixels is, from 0 (alike) to 1 (opposite).

    Images are [B, rows, cols, C] with colours in [0, 1].

    Parameters
    ----------
    found, wanted, visible
        As the module says; patches take in visible pixels only. Brightness is the channels' mean.
    patch
        ``ssim`` compares light, contrast and structure; ``ncc`` structure alone, whatever gain and offset.
    size
        Odd width of a patch in pixels.
    """
    require_sizes(tuple(found.shape), wanted)
    require_sizes((*found.shape[:-1], 1), visible)
    one, two, weight = found.mean(dim=-1), wanted.detach().mean(dim=-1), visible.detach()[..., 0]
    if runs_compiled(one, two, weight):
        from refbench_diffrender.losses.kernels_patch import patch_cost

        constants = SSIM_LIGHT, SSIM_CONTRAST, FLAT if patch == "ncc" else 0.0
        return applied(FusedLoss, patch_cost, one, two, weight, size, *constants)
    similarity = _similarity(one, two, weight, patch, size)
    return _mean(((1 - similarity) / 2)[..., None], weight[..., None])


def _similarity(one: Tensor, two: Tensor, weight: Tensor, patch: Patch, size: int) -> Tensor:
    """Return the similarity [B, rows, cols] of the patches around every pixel."""
    # Weighted sums of w, wx, wy, wx^2, wy^2, wxy over every patch give means, variances and the covariance.
    moments = torch.stack([weight, weight * one, weight * two, weight * one**2, weight * two**2, weight * one * two])
    taps = [1.0] * size
    sums = correlate(moments, taps, taps)
    mean_1, mean_2, square_1, square_2, product = sums[1:] / sums[0].clamp(min=1)
    variance_1, variance_2 = (square_1 - mean_1**2).clamp(min=0), (square_2 - mean_2**2).clamp(min=0)
    covariance = product - mean_1 * mean_2
    if patch == "ncc":
        correlation: Tensor = covariance / torch.sqrt((variance_1 + FLAT) * (variance_2 + FLAT))
        return correlation
    light: Tensor = (2 * mean_1 * mean_2 + SSIM_LIGHT) / (mean_1**2 + mean_2**2 + SSIM_LIGHT)
    structure: Tensor = (2 * covariance + SSIM_CONTRAST) / (variance_1 + variance_2 + SSIM_CONTRAST)
    return light * structure


def _mean(cost: Tensor, visible: Tensor) -> Tensor:
    return (cost * visible).sum() / (visible.sum() * cost.shape[-1]).clamp(min=1)
