"""Norms over the statistics of a batch whose sums keep their digits over millions of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from torch import nn

STRETCH = 1 << 15
"""Pixels whose moments are summed in float32."""
NO_BACKWARD = -1


class Moments:
    """Means and variances of stretches of pixels, joined in float64: one float32 sum over millions loses digits."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._means: list[Tensor] = []
        self._variances: list[Tensor] = []

    def add(self, x: Tensor, wanted: bool) -> None:
        """Look at a chunk [n, C, h, w], channels last. Features without a unit."""
        if not wanted:
            return
        channels = x.shape[1]
        unused = torch.zeros(channels, dtype=x.dtype, device=x.device)
        for stretch in torch.split(x.permute(0, 2, 3, 1).reshape(-1, channels), STRETCH):
            pixels = stretch.reshape(1, 1, -1, channels).permute(0, 3, 1, 2)
            mean, variance = torch.batch_norm_update_stats(pixels, unused, unused.clone(), 0.0)
            self._counts.append(len(stretch))
            self._means.append(mean)
            self._variances.append(variance)

    def joined(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance [C] over all chunks, float64."""
        means, variances = torch.stack(self._means).double(), torch.stack(self._variances).double()
        fraction = torch.tensor(self._counts, dtype=torch.float64, device=means.device)[:, None] / sum(self._counts)
        mean = (fraction * means).sum(0)
        return mean, (fraction * (variances + (means - mean) ** 2)).sum(0)


class _BatchNorm(torch.autograd.Function):
    """The norm over accurate moments; its gradient is the library's own, given these moments."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        """Return the normed map and the mean and variance [C] that it was normed by."""
        moments = Moments()
        moments.add(x, True)
        mean, variance = moments.joined()
        inverse = 1 / torch.sqrt(variance + eps)
        scale = weight.double() * inverse
        shift = bias.double() - mean * scale
        ctx.save_for_backward(x, weight, mean.to(x.dtype), inverse.to(x.dtype))
        ctx.eps = eps
        scale, shift = (value.to(x.dtype).reshape(1, -1, 1, 1) for value in (scale, shift))
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(shift, x, scale), mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """Return the gradients of map, weight and bias."""
        x, weight, mean, inverse = ctx.saved_tensors
        found = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, None, None, mean, inverse, True, ctx.eps, [True, True, True]
        )
        return (*found, None)


def normed(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply a norm by its mode, and move its running statistics in training mode.

    Where the backward pass repeats a part of the network they are not moved a second time.
    ``x`` is [n, C, h, w], features; the shape stays.
    """
    if not norm.training:
        plain: Tensor = norm(x)
        return plain
    if not x.is_contiguous(memory_format=torch.channels_last) or x.dtype != torch.float32 or x.device.type != "cpu":
        return _library(norm, x)
    made: tuple[Tensor, Tensor, Tensor] = _BatchNorm.apply(x, norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]  # torch's stub
    found, mean, variance = made
    if not _repeats():
        _move(norm, mean, variance, x.numel() // x.shape[1])
    return found


def _repeats() -> bool:
    return bool(torch._C._current_graph_task_id() != NO_BACKWARD)


def _library(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    if not _repeats() and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    momentum = 0.0 if _repeats() else float(norm.momentum or 0.0)
    return functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, momentum, norm.eps
    )


@torch.no_grad()
def _move(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics towards those of a batch; the variance without bias, as published."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = float(norm.momentum or 0.0)
    norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
    norm.running_var.lerp_((variance * (count / max(1, count - 1))).to(norm.running_var), momentum)
