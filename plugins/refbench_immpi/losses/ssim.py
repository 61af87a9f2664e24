"""Structural similarity of images in [0, 1]: window 11 x 11 px, Gaussian of 1.5 px, population covariance.

``zero_padded`` is ImMPI's form: the image goes on as zeros beyond its rim and every pixel counts. ``standard`` counts
only the windows that lie wholly inside the image (and, with a mask, inside the mask).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import max_pool2d, pad

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx

WINDOW_PX, SIGMA_PX = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
Form = Literal["zero_padded", "standard"]
_HALF = WINDOW_PX // 2


def gaussian_window() -> torch.Tensor:
    """Return the weights of the window along one axis, float64 [11], sum 1."""
    offsets = torch.arange(WINDOW_PX, dtype=torch.float64) - _HALF
    weights = torch.exp(-(offsets**2) / (2 * SIGMA_PX**2))
    return weights / weights.sum()


_WEIGHTS: list[float] = gaussian_window().tolist()


class _Smooth(torch.autograd.Function):
    """Gaussian window over zero padding; symmetric, hence its own gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        return _smoothed(x)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: torch.Tensor) -> torch.Tensor:
        return _smoothed(grads[0])


def _smoothed(x: torch.Tensor) -> torch.Tensor:
    """Apply the window along both axes [..., h, w]: shifted sums, which a CPU does much faster than a convolution."""
    for axis, margin in ((-2, (0, 0, _HALF, _HALF)), (-1, (_HALF, _HALF))):
        wide, length = pad(x, margin), x.shape[axis]
        x = wide.narrow(axis, _HALF, length) * _WEIGHTS[_HALF]
        for k in range(_HALF):
            x.add_(wide.narrow(axis, k, length), alpha=_WEIGHTS[k])
            x.add_(wide.narrow(axis, WINDOW_PX - 1 - k, length), alpha=_WEIGHTS[k])
    return x


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What SSIM needs of an image [B, C, h, w] that stays: itself, its local mean and mean square."""

    image: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor


def moments(image: torch.Tensor) -> Moments:
    """Return the local moments of an image [B, C, h, w]. Colours in [0, 1]."""
    return Moments(image, _smoothed(image), _smoothed(image * image))


def ssim(
    estimate: torch.Tensor,
    target: torch.Tensor | Moments,
    form: Form = "zero_padded",
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean SSIM per image [B].

    Parameters
    ----------
    estimate, target
        [B, C, h, w] in [0, 1]; a target that stays may be given as its ``moments``.
    form
        ``zero_padded``, as published, or ``standard``; see the module.
    mask
        [B, 1, h, w] of 0 and 1. Of ``zero_padded`` it is expected inside the images already (as published: both are
        multiplied by it and every pixel counts); of ``standard`` it selects the windows.
    """
    known = target if isinstance(target, Moments) else moments(target)
    mean: torch.Tensor = _Smooth.apply(estimate)  # type: ignore[no-untyped-call]  # torch's stub
    square: torch.Tensor = _Smooth.apply(estimate * estimate)  # type: ignore[no-untyped-call]  # torch's stub
    product: torch.Tensor = _Smooth.apply(estimate * known.image)  # type: ignore[no-untyped-call]  # torch's stub
    both, means = mean * known.mean, mean * mean + known.mean * known.mean
    variances = square + known.square - means
    similar = (2 * both + C1) * (2 * (product - both) + C2) / ((means + C1) * (variances + C2))
    if form == "zero_padded":
        return similar.mean((1, 2, 3))
    inner = similar[..., _HALF:-_HALF, _HALF:-_HALF]
    if mask is None:
        return inner.mean((1, 2, 3))
    whole = 1 - max_pool2d(1 - mask, WINDOW_PX, stride=1)
    return (inner * whole).sum((1, 2, 3)) / (whole.sum((1, 2, 3)) * inner.shape[1])
