"""The à-trous filter: a weighted 5 x 5 average whose taps lie ``spacing`` pixels apart; zeros beyond the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from refbench_diffrender.losses.filters import correlate

if TYPE_CHECKING:
    from torch import Tensor

LINE = (1 / 6, 2 / 3, 1.0, 2 / 3, 1 / 6)
"""Weights of the taps along either axis."""
TINY = 1e-8


def masked_atrous(image: Tensor, weight: Tensor, mask: Tensor, spacing: int = 1) -> Tensor:
    """Return the average of every pixel's taps under ``weight``, which gets no gradient.

    Parameters
    ----------
    image, weight, mask
        [rows, cols]; a tap counts with its own weight, or not at all where its mask is below 1e-8.
    spacing
        Distance of the taps in pixels.

    Returns
    -------
    [rows, cols]; 0 where the weights of all taps vanish.
    """
    counted = weight.detach() * (mask >= TINY)
    return spread(image * counted, spacing) * inverse_weight(counted, spacing)


def inverse_weight(counted: Tensor, spacing: int = 1) -> Tensor:
    """Return 1 / (summed weight of a pixel's taps) [rows, cols], 0 where that vanishes."""
    total = spread(counted, spacing)
    return torch.where(total > TINY, 1 / total.clamp(min=TINY), 0)


def spread(image: Tensor, spacing: int = 1) -> Tensor:
    """Return the sum over the taps of every pixel [rows, cols]."""
    return correlate(image, LINE, LINE, spacing)


def bilateral_atrous(image: Tensor, spacing: int = 1) -> Tensor:
    """Return the average of every pixel's taps [rows, cols]; a tap counts exp(-difference to the centre) less."""
    half = 2 * spacing
    values, inside = (functional.pad(plane, (half,) * 4) for plane in (image, torch.ones_like(image)))
    rows, cols = image.shape
    total, sums = torch.zeros_like(image), torch.zeros_like(image)
    for y, row_weight in enumerate(LINE):
        for x, col_weight in enumerate(LINE):
            part = slice(y * spacing, y * spacing + rows), slice(x * spacing, x * spacing + cols)
            # Taps beyond the border do not count; dissimilar ones hardly (bilateral weight).
            fraction = row_weight * col_weight * inside[part] * torch.exp(-(image - values[part]).abs())
            total, sums = total + fraction, sums + fraction * values[part]
    return sums / total
