"""Autograd functions of the numba backend that work on images: texture lookups and antialiasing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from refbench_diffrender.rasteriser import kernels_antialias, kernels_texture
from refbench_diffrender.rasteriser.bands import array, bands, bands_of_view, copied, fresh, of_view
from refbench_diffrender.rasteriser.compiled import in_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_diffrender.rasteriser.autograd import Context
    from refbench_diffrender.rasteriser.buffers import Buffers


def texture_gradient(texture: Tensor, uv: Tensor, cotangent: NDArray[Any]) -> Tensor:
    """Return the gradient to a texture; views that share one follow one another.

    ``texture`` [1 or B, h, w, C], ``uv`` [B, rows, cols, 2], ``cotangent`` [B, rows, cols, C].
    """
    places, gradient = array(uv), torch.zeros_like(texture, memory_format=torch.contiguous_format)
    out = gradient.numpy()
    calls = [(places[view], cotangent[view], of_view(out, view)) for view in range(len(places))]
    in_threads(kernels_texture.splat, calls, torch.get_num_threads() if len(out) > 1 else 1)
    return gradient


class Texture(torch.autograd.Function):
    """``Rasteriser.texture``."""

    @staticmethod
    def forward(ctx: Context, buffers: Buffers, texture: Tensor, uv: Tensor) -> Tensor:
        """Return what was looked up. Shapes and units as ``Rasteriser`` has them."""
        image, places = array(texture), array(uv)
        sampled = fresh(buffers, (*uv.shape[:3], image.shape[3]), uv)
        out, cut = sampled.numpy(), bands(*places.shape[:2])
        calls = [(of_view(image, v), places[v], first, last, out[v]) for v, _, first, last in cut]
        in_threads(kernels_texture.lookup, calls, torch.get_num_threads())
        ctx.save_for_backward(texture, uv)
        return sampled

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, given: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to texture and coordinates.

        Each gradient has the shape of its input; ``given`` that of the output.
        """
        texture, uv = ctx.saved_tensors
        image, places, slopes = array(texture), array(uv), array(given)
        g_uv, g_texture = None, None
        if ctx.needs_input_grad[2]:
            g_uv = torch.empty_like(uv, memory_format=torch.contiguous_format)
            out = g_uv.numpy()
            calls = [
                (of_view(image, v), places[v], slopes[v], first, last, out[v])
                for v, _, first, last in bands(*places.shape[:2])
            ]
            in_threads(kernels_texture.lookup_slope, calls, torch.get_num_threads())
        if ctx.needs_input_grad[1]:
            g_texture = texture_gradient(texture, uv, slopes)
        return None, g_texture, g_uv


class Antialias(torch.autograd.Function):
    """``Rasteriser.antialias``."""

    @staticmethod
    def forward(
        ctx: Context, buffers: Buffers, colour: Tensor, pos: Tensor, rast: Tensor, triangles: Tensor,
        opposite: NDArray[np.int32], epsilon: float, channels: int,
    ) -> Tensor:  # fmt: skip
        """Return the blended colours; only the first ``channels`` are. Shapes and units as ``Rasteriser`` has them."""
        p, seen, t, image = array(pos), array(rast), triangles.numpy(), array(colour)
        views, rows, cols = seen.shape[:3]
        parts = bands_of_view(views)
        most = 2 * cols * -(-rows // parts)
        flags = np.zeros((views, max(len(t), 1)), np.uint8)
        blends, alphas = np.empty((views, parts, most), np.int64), np.empty((views, parts, most))
        counts = np.empty((views, parts), np.int64)
        # First the list of blends of every band (side by side), then their sums view by view (in a fixed order).
        searches = [
            (p[v], t, opposite, seen[v], first, last, flags[v], blends[v, band], alphas[v, band],
             counts[v, band : band + 1])
            for v, band, first, last in bands(views, rows)
        ]  # fmt: skip
        in_threads(kernels_antialias.find_blends, searches, torch.get_num_threads())
        out = copied(buffers, image)
        sums = [(image[v], channels, blends[v], alphas[v], counts[v], out[v]) for v in range(views)]
        in_threads(kernels_antialias.blend, sums, torch.get_num_threads())
        ctx.save_for_backward(colour, pos, rast, triangles)
        ctx.blends, ctx.epsilon, ctx.channels, ctx.buffers = (blends, alphas, counts), epsilon, channels, buffers
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, given: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to colours and positions.

        Each gradient has the shape of its input; ``given`` that of the output.
        """
        image, p, seen, t = (array(part) for part in ctx.saved_tensors)
        g_out, g_pos = array(given), np.zeros_like(p)
        g_colour = copied(ctx.buffers, g_out)
        blends, alphas, counts = ctx.blends
        calls = [
            (p[v], t, seen[v], image[v], ctx.channels, g_out[v], blends[v], alphas[v], counts[v], ctx.epsilon,
             g_colour[v], g_pos[v])
            for v in range(len(p))
        ]  # fmt: skip
        in_threads(kernels_antialias.blend_backward, calls, torch.get_num_threads())
        return None, torch.from_numpy(g_colour), torch.from_numpy(g_pos), None, None, None, None, None
