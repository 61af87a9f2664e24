"""Losses whose compiled kernel returns value and gradient in one go."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch.autograd.function import once_differentiable

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from refbench_diffrender.rasteriser.autograd import Context


@cache
def compiler_present() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def runs_compiled(*tensors: Tensor) -> bool:
    """Whether kernels can work on these tensors: float32 on the CPU, and numba is there."""
    return compiler_present() and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def require_sizes(size: tuple[int, ...], *tensors: Tensor) -> None:
    """Refuse tensors of another size; kernels do not look where they read.

    Raises
    ------
    InputError
        A tensor is not of ``size``.
    """
    for tensor in tensors:
        if tuple(tensor.shape) != size:
            raise InputError(
                f"A loss got images of the sizes {list(size)} and {list(tensor.shape)}: resize one of them."
            )


class FusedLoss(torch.autograd.Function):
    """``kernel(target, *arguments, with_gradient)`` -> (loss, its gradient or None), as a differentiable scalar."""

    @staticmethod
    def forward(
        ctx: Context,
        kernel: Callable[..., tuple[float, Tensor | None]],
        target: Tensor,
        *arguments: object,
    ) -> Tensor:
        """Return the loss; keep its gradient for the backward pass.

        A scalar; its gradient has the shape of ``target``.
        """
        ctx.number = len(arguments)
        value, gradient = kernel(target.detach(), *arguments, ctx.needs_input_grad[1])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return target.new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradient that the forward pass left.

        The gradient has the shape of the forward pass's ``target``; ``cotangent`` is a scalar.
        """
        (gradient,) = ctx.saved_tensors
        return (None, gradient * cotangent, *[None] * ctx.number)
