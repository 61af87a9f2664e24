"""The photometric term: rendered against photographed colours, damped near depth steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from refbench_diffrender.fused_loss import require_sizes, runs_compiled

if TYPE_CHECKING:
    from torch import Tensor


def colour_loss(found: Tensor, wanted: Tensor, mask: Tensor, edges: Tensor, *, compat: bool = False) -> Tensor:
    """Return the mean squared colour difference where the edge map is high, raised by the share of low edges.

    Parameters
    ----------
    found, wanted
        Rendered and photographed colours [B, rows, cols, 3]. The mean is over all of them.
    mask
        1 where the mesh is seen, else 0, [B, rows, cols, 1]. As the photographs it gets no gradient.
    edges
        The rendered edge map in [0, 1], [B, rows, cols, 1].
    compat
        As published: pixels beyond the mesh take part in the mean of ``1 - edges``.
    """
    require_sizes(tuple(found.shape), wanted)
    require_sizes((*found.shape[:-1], 1), mask, edges)
    if runs_compiled(found, wanted, mask, edges):
        return _Compiled.apply(found, wanted, mask, edges, compat)
    wanted, mask = wanted.detach(), mask.detach()
    damped = ((wanted - found) ** 2 * (mask * edges) ** 2).mean()
    low = 1 - edges
    share = low.mean() if compat else (low * mask).sum() / mask.sum().clamp(min=1)
    return damped * (1 + share)


class _Compiled(torch.autograd.Function):
    """Two passes over the images instead of a dozen."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's context takes any attribute
        found: Tensor,
        wanted: Tensor,
        mask: Tensor,
        edges: Tensor,
        compat: bool,
    ) -> Tensor:
        from refbench_diffrender.kernels_colour import colour_sums

        squares, low, counted = colour_sums(found, wanted, mask, edges, compat)
        counted = max(counted, 1.0)
        ctx.save_for_backward(found, wanted, mask, edges)
        ctx.terms = squares / found.numel(), low / counted, counted, compat
        return found.new_tensor(ctx.terms[0] * (1 + ctx.terms[1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # torch's context
        from refbench_diffrender.kernels_colour import colour_gradients

        gradients = colour_gradients(ctx.saved_tensors, ctx.terms, float(cotangent))
        to_found, to_edges = (
            gradient if needed else None
            for gradient, needed in zip(gradients, (ctx.needs_input_grad[0], ctx.needs_input_grad[3]), strict=True)
        )
        return to_found, None, None, to_edges, None
