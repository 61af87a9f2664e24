"""A camera's response as a curve through 25 knots per channel, and its inverse.

Images are [B, 3, rows, cols], curves [1, 3, 1, 25]: values at equal distances from 0 to 1, increasing.
"""

from __future__ import annotations

import torch
from torch import Tensor

KNOTS = 25
EXPONENT = 0.4545454681
LEAK = 0.0099999998
INSIDE_ROOT = 1e-4


def default_curve() -> Tensor:
    """Return the curve that training starts from, a power of 1 / 2.2, float32 [1, 3, 1, 25]."""
    return (torch.linspace(0, 1, KNOTS) ** EXPONENT).expand(1, 3, 1, KNOTS).clone()


def respond(light: Tensor, curve: Tensor, *, training: bool) -> Tensor:
    """Return the response to light; beyond [0, 1] it is constant, in training with a slight slope (a leak)."""
    place = light.clamp(0, 1) * (curve.shape[-1] - 1)
    knot = place.detach().floor().clamp(max=curve.shape[-1] - 2).long()
    share = place - knot
    found = _at(curve, knot) * (1 - share) + _at(curve, knot + 1) * share
    if not training:
        return found
    above = LEAK - LEAK / (light.abs() + INSIDE_ROOT).sqrt()
    return found + torch.where(light < 0, LEAK * light, torch.where(light > 1, above, 0))


def light_of(response: Tensor, curve: Tensor) -> Tensor:
    """Return the light in [0, 1] that a response belongs to."""
    values = curve[0, :, 0].contiguous()
    channels = response.movedim(1, 0)
    flat = channels.reshape(values.shape[0], -1).contiguous()
    knot = (torch.searchsorted(values, flat, right=True) - 1).clamp(0, values.shape[-1] - 2)
    low, high = values.gather(1, knot), values.gather(1, knot + 1)
    share = ((flat - low) / (high - low)).clamp(0, 1)
    found = (knot + share) / (values.shape[-1] - 1)
    return found.reshape(channels.shape).movedim(0, 1)


def _at(curve: Tensor, knot: Tensor) -> Tensor:
    channels = curve.expand(knot.shape[0], -1, -1, -1).reshape(knot.shape[0], knot.shape[1], -1)
    return channels.gather(2, knot.flatten(2)).reshape(knot.shape)
