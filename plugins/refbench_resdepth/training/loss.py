"""The training loss: mean absolute error in metres over the pixels that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def metric_l1(predicted: Tensor, target: Tensor, mask: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the L1 loss in metres.

    Parameters
    ----------
    predicted, target
        Normalised heights [B, 1, H, W].
    mask
        Which pixels count, bool [B, 1, H, W].
    mean, std
        Of the normalisation, metres [B].

    Returns
    -------
    Tensor
        Sum of |error| over the pixels that count, divided by their number in the whole batch; 0 where none does
        (the official code divides by 0 there).
    """
    scale = std.reshape(-1, 1, 1, 1).to(predicted.dtype)
    del mean  # both sides are shifted by it
    error = ((predicted - target) * scale).abs() * mask
    return error.sum() / mask.sum().clamp(min=1)
