"""Scores of rendered views and depths as ImMPI defines them, and the standard SSIM beside its own.

Estimates and truths are [B, C, h, w], tensors or arrays; images in [0, 1], depths in scene units; masks
[B, 1, h, w] of 0 and 1. Every score is a float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from refbench.contracts.errors import InputError
from refbench_immpi.losses.ssim import ssim

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench_immpi.losses.lpips import Lpips

    Values: TypeAlias = torch.Tensor | NDArray[Any]


def psnr(estimate: Values, reference: Values, mask: Values | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB: mean of the images' own; infinite where they agree."""
    first, second, where = _tensors(estimate, reference, mask)
    squares, count = (first - second).square(), first[0].numel() * torch.ones(len(first), device=first.device)
    if where is not None:
        squares, count = squares * where, where.sum((1, 2, 3)) * first.shape[1]
    return float((-10 * torch.log10(squares.sum((1, 2, 3)) / count)).mean())


def ssim_zero_padded(estimate: Values, reference: Values, mask: Values | None = None) -> float:
    """Return SSIM as published: images are zero beyond the rim and outside the mask, and every pixel counts."""
    first, second, where = _tensors(estimate, reference, mask)
    if where is not None:
        first, second = first * where, second * where
    return float(ssim(first, second).mean())


def ssim_standard(estimate: Values, reference: Values, mask: Values | None = None) -> float:
    """Return SSIM of the windows of 11 x 11 px that lie wholly inside image and mask; NaN if there is none."""
    first, second, where = _tensors(estimate, reference, mask)
    return float(ssim(first, second, "standard", where).mean())


def lpips_distance(estimate: Values, reference: Values, lpips: Lpips, mask: Values | None = None) -> float:
    """Return the mean LPIPS distance; with a mask both images are multiplied by it."""
    first, second, where = _tensors(estimate, reference, mask)
    if where is not None:
        first, second = first * where, second * where
    with torch.no_grad():
        return float(lpips(first, second).mean())


def _tensors(
    estimate: Values, reference: Values, mask: Values | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    first, second = torch.as_tensor(estimate), torch.as_tensor(reference)
    where = None if mask is None else torch.as_tensor(mask).to(first.dtype)
    if first.ndim != 4 or first.shape != second.shape:
        raise InputError(f"A score compares two [B, C, h, w] of one size, not {[*first.shape]} and {[*second.shape]}.")
    if where is not None and where.shape != (len(first), 1, *first.shape[2:]):
        raise InputError(f"The mask of images {[*first.shape]} is [B, 1, h, w], not {[*where.shape]}.")
    return first, second, where
