"""The photometric term: rendered against observed colours, damped near depth steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from refbench_diffrender.losses.fused_loss import require_sizes, runs_compiled
from refbench_diffrender.rasteriser.autograd import applied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from refbench_diffrender.rasteriser.autograd import Context

COLOURS = 3


def colour_loss(found: Tensor, wanted: Tensor, mask: Tensor, edges: Tensor, *, compat: bool = False) -> Tensor:
    """Return the mean squared colour difference where the edge map is high, raised by the fraction of low edges.

    Parameters
    ----------
    found, wanted
        Rendered and observed colours [B, rows, cols, 3]. The mean is over all of them.
    mask
        1 where the mesh is seen, else 0, [B, rows, cols, 1]. As the images it gets no gradient.
    edges
        The rendered edge map in [0, 1], [B, rows, cols, 1].
    compat
        As published: pixels beyond the mesh take part in the mean of ``1 - edges``.
    """
    require_sizes(tuple(found.shape), wanted)
    require_sizes((*found.shape[:-1], 1), mask, edges)
    if runs_compiled(found, wanted, mask, edges):
        return applied(_Compiled, found, wanted, mask, edges, compat)
    wanted, mask = wanted.detach(), mask.detach()
    # The edge map (1 on smooth depth, 0 at steps) takes pixels out where a small error moves a silhouette.
    damped = ((wanted - found) ** 2 * (mask * edges) ** 2).mean()
    # Without this factor the mesh could lower the loss by making edges everywhere.
    low = 1 - edges
    fraction = low.mean() if compat else (low * mask).sum() / mask.sum().clamp(min=1)
    return damped * (1 + fraction)


def blended_loss(blended: Tensor, wanted: Sequence[Tensor], mask: Tensor, *, compat: bool = False) -> Tensor:
    """Return ``colour_loss`` of what a rasteriser blended: its gradient needs no other images on the way.

    Parameters
    ----------
    blended
        Rendered colours and, last, the rendered edge map, not yet clamped, [B, rows, cols, 4].
    wanted
        Images [rows, cols, 3], one for every view.
    mask, compat
        See ``colour_loss``.
    """
    require_sizes((*blended.shape[:-1], 1), mask)
    require_sizes((*blended.shape[1:-1], COLOURS), *wanted)
    if runs_compiled(blended, mask, *wanted):
        return applied(_CompiledOfBlended, blended, mask, compat, *wanted)
    edges = blended[..., COLOURS:].clamp(0, 1)
    return colour_loss(blended[..., :COLOURS], torch.stack(list(wanted)), mask, edges, compat=compat)


class _Compiled(torch.autograd.Function):
    """Two passes over the images instead of a dozen."""

    @staticmethod
    def forward(
        ctx: Context,
        found: Tensor,
        wanted: Tensor,
        mask: Tensor,
        edges: Tensor,
        compat: bool,
    ) -> Tensor:
        from refbench_diffrender.losses.kernels_colour import colour_sums

        ctx.rules = compat, False
        squares, low, counted = colour_sums(found, wanted, mask, edges, ctx.rules)
        counted = max(counted, 1.0)
        ctx.save_for_backward(found, wanted, mask, edges)
        ctx.terms = squares / found.numel(), low / counted, counted
        return found.new_tensor(ctx.terms[0] * (1 + ctx.terms[1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        from refbench_diffrender.losses.kernels_colour import colour_gradients

        # numpy asks for huge pages, which cost less than torch's
        outs = tuple(np.empty(tuple(part.shape), np.float32) for part in ctx.saved_tensors[::3])
        colour_gradients(ctx.saved_tensors, ctx.terms, ctx.rules, float(cotangent), (outs[0], outs[1]))
        to_found, to_edges = (
            torch.from_numpy(gradient) if needed else None
            for gradient, needed in zip(outs, (ctx.needs_input_grad[0], ctx.needs_input_grad[3]), strict=True)
        )
        return to_found, None, None, to_edges, None


class _CompiledOfBlended(torch.autograd.Function):
    """``_Compiled`` of an image whose last channel is the edge map."""

    @staticmethod
    def forward(ctx: Context, blended: Tensor, mask: Tensor, compat: bool, *wanted: Tensor) -> Tensor:
        from refbench_diffrender.losses.kernels_colour import colour_sums

        ctx.rules = compat, True
        found, edges = blended[..., :COLOURS], blended[..., COLOURS:]
        squares, low, counted = colour_sums(found, wanted, mask, edges, ctx.rules)
        counted = max(counted, 1.0)
        ctx.save_for_backward(blended, mask, *wanted)
        ctx.terms = squares / found.numel(), low / counted, counted
        return blended.new_tensor(ctx.terms[0] * (1 + ctx.terms[1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        from refbench_diffrender.losses.kernels_colour import colour_gradients

        blended, mask, *wanted = ctx.saved_tensors
        gradient = np.empty(tuple(blended.shape), np.float32)
        images = blended[..., :COLOURS], wanted, mask, blended[..., COLOURS:]
        outs = gradient[..., :COLOURS], gradient[..., COLOURS:]
        colour_gradients(images, ctx.terms, ctx.rules, float(cotangent), outs)
        return torch.from_numpy(gradient), None, None, *[None] * len(wanted)
