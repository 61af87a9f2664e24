"""Autograd functions of the numba backend that render meshes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from refbench_diffrender.rasteriser import kernels_cover, kernels_dense, kernels_shade
from refbench_diffrender.rasteriser.bands import array, bands, bands_of_view, cotangent, cuts, fresh, of_view
from refbench_diffrender.rasteriser.compiled import in_threads
from refbench_diffrender.rasteriser.functions_image import texture_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_diffrender.rasteriser.autograd import Context
    from refbench_diffrender.rasteriser.buffers import Buffers


PLANES = 12
"""Coefficients that ``kernels_cover`` keeps of a triangle."""
DENSE = 1.5
"""Pixels for each triangle, up to which planes of triangles cost more than they save."""


def cover(
    buffers: Buffers, pos: NDArray[Any], triangles: NDArray[np.int32], shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the numbers of the nearest triangles plus one, int32 [B, rows, cols], and their planes [B, T + 1, 12].

    Planes: see ``kernels_cover.cover``; those of triangles that nobody sees are of any content, row 0 is zero; dense
    meshes have no rows. ``pos`` are float [B, V, 4], ``triangles`` int32 [T, 3]. Threads render parts of the triangles,
    each into a depth buffer of its own; merging these by depth and number makes the result independent of the parts.
    """
    threads, (views, vertices) = torch.get_num_threads(), pos.shape[:2]
    parts = max(1, -(-threads // views))
    xy = buffers.take((views, vertices, 2), np.int32)
    layers = (views, parts, *shape)
    dense = DENSE * len(triangles) >= shape[0] * shape[1]
    planes = buffers.take((views, 0 if dense else len(triangles) + 1, PLANES), np.float64)
    planes[:, :1] = 0.0
    nearest, ids = buffers.take(layers, np.float32), buffers.take(layers, np.int32)
    vertex_parts = [(view, *cut) for view in range(views) for cut in cuts(vertices, parts)]
    calls = [(pos[view], *shape, first, last, xy[view]) for view, first, last in vertex_parts]
    in_threads(kernels_cover.snap, calls, threads)
    triangle_parts = [
        (view, part, *cut) for view in range(views) for part, cut in enumerate(cuts(len(triangles), parts))
    ]
    in_threads(
        kernels_dense.cover_dense if dense else kernels_cover.cover,
        [
            (pos[view], xy[view], triangles, first, last, nearest[view, part], ids[view, part])
            + (() if dense else (planes[view],))
            for view, part, first, last in triangle_parts
        ],
        threads,
    )
    if parts > 1:
        row_parts = [(view, *cut) for view in range(views) for cut in cuts(shape[0], parts)]
        in_threads(kernels_cover.nearest_of, [(nearest[view], ids[view], *cut) for view, *cut in row_parts], threads)
    return ids[:, 0], planes


class VertexGradients:
    """Room for the vertex gradients of all bands: columns x, y, w, then attributes where these are wanted."""

    def __init__(self, spans: NDArray[np.int32], columns: int, dtype: np.dtype[Any]) -> None:
        """``spans`` int32 [B, bands, 2]: the smallest and the largest vertex number of every band."""
        self.spans = spans
        sizes = np.maximum(spans[:, :, 1] - spans[:, :, 0] + 1, 0)
        self.offsets = np.concatenate([np.zeros((len(spans), 1), np.int64), np.cumsum(sizes, axis=1)], axis=1)
        self.flat = [np.zeros((int(ends[-1]), columns), dtype) for ends in self.offsets]

    def of_band(self, view: int, band: int) -> tuple[int, NDArray[Any]]:
        """The first vertex of a band, and its rows. [rows, 4] positions in clip space or [rows, C] attributes."""
        first, last = self.offsets[view, band], self.offsets[view, band + 1]
        return int(self.spans[view, band, 0]), self.flat[view][first:last]

    def collect(self, g_pos: NDArray[Any], g_attributes: NDArray[Any]) -> None:
        """Add the bands to [B, V, 4] and [B, V, C]. Gradients to positions in clip space and to attributes."""
        calls = [
            (self.flat[view], self.offsets[view], self.spans[view], g_pos[view], g_attributes[view])
            for view in range(len(self.spans))
        ]
        in_threads(kernels_shade.collect, calls, torch.get_num_threads())


def shared(attributes: NDArray[Any], gradient: NDArray[Any]) -> Tensor:
    """Return gradients [B, V, C], summed over the views where these share the attributes."""
    return torch.from_numpy(gradient.sum(axis=0, keepdims=True) if len(attributes) < len(gradient) else gradient)


class Shade(torch.autograd.Function):
    """``Rasteriser.shade``; a texture without channels leaves it at ``render``."""

    @staticmethod
    def forward(
        ctx: Context, buffers: Buffers, pos: Tensor, attributes: Tensor, texture: Tensor, triangles: Tensor,
        shape: tuple[int, int], epsilon: float, masked: int,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return rast, the interpolated attributes and the sampled texture.

        Shapes and units as ``Rasteriser`` has them.
        """
        p, a, image, t = array(pos), array(attributes), array(texture), triangles.numpy()
        views = len(p)
        (ids, planes), cut = cover(buffers, p, t, shape), bands(views, shape[0])
        channels = (4, a.shape[2], image.shape[3])
        rast, found, sampled = (fresh(buffers, (views, *shape, count), pos) for count in channels)
        spans = np.empty((views, bands_of_view(views), 2), np.int32)
        out = rast.numpy(), found.numpy(), sampled.numpy()
        calls = [
            (p[v], planes[v], t, ids[v], first, last, of_view(a, v), of_view(image, v), masked, *(o[v] for o in out),
             spans[v, band])
            for v, band, first, last in cut
        ]  # fmt: skip
        in_threads(kernels_shade.shade, calls, torch.get_num_threads())
        ctx.save_for_backward(pos, attributes, texture, triangles, rast, found)
        ctx.spans, ctx.planes, ctx.epsilon, ctx.masked = spans, planes, epsilon, masked
        ctx.set_materialize_grads(False)
        return rast, found, sampled

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Context, given_rast: Tensor | None, given_found: Tensor | None, given_sampled: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients to positions, attributes and texture. Each gradient has the shape of its input."""
        if given_rast is None and given_found is None and given_sampled is None:
            return (None,) * 8
        _, _, texture, _, rast, found = ctx.saved_tensors
        p, a, image, t, seen, read = (array(part) for part in ctx.saved_tensors)
        g_rast, g_found, g_sampled = (cotangent(g, rast) for g in (given_rast, given_found, given_sampled))
        g_pos, g_attributes, g_texture = np.zeros_like(p), None, None
        wanted = a.shape[2] if ctx.needs_input_grad[2] else 0
        if ctx.needs_input_grad[1] or wanted:
            room = VertexGradients(ctx.spans, 3 + wanted, p.dtype)
            calls = [
                (p[v], ctx.planes[v], t, seen[v], read[v], first, last, of_view(a, v), of_view(image, v), g_rast[v],
                 g_found[v], g_sampled[v], ctx.epsilon, *room.of_band(v, band))
                for v, band, first, last in bands(*seen.shape[:2])
            ]  # fmt: skip
            in_threads(kernels_shade.shade_backward, calls, torch.get_num_threads())
            g_all = np.zeros((*p.shape[:2], wanted), p.dtype)
            room.collect(g_pos, g_all)
            g_attributes = shared(a, g_all) if wanted else None
        if ctx.needs_input_grad[3] and given_sampled is not None:
            if ctx.masked:
                g_sampled = g_sampled.copy()
                g_sampled[seen[..., 3] == 0, : ctx.masked] = 0.0
            g_texture = texture_gradient(texture, found, g_sampled)
        return None, torch.from_numpy(g_pos), g_attributes, g_texture, None, None, None, None


class Interpolate(torch.autograd.Function):
    """``Rasteriser.interpolate``."""

    @staticmethod
    def forward(ctx: Context, buffers: Buffers, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """Return the interpolated attributes. Shapes and units as ``Rasteriser`` has them."""
        a, seen, t = array(attributes), array(rast), triangles.numpy()
        found = fresh(buffers, (*rast.shape[:3], a.shape[2]), rast)
        out, cut = found.numpy(), bands(*seen.shape[:2])
        spans = np.empty((len(seen), bands_of_view(len(seen)), 2), np.int32)
        calls = [(t, seen[v], first, last, of_view(a, v), out[v], spans[v, band]) for v, band, first, last in cut]
        in_threads(kernels_shade.interpolate, calls, torch.get_num_threads())
        ctx.save_for_backward(attributes, rast, triangles)
        ctx.spans = spans
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, given: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to attributes and to u and v. Each gradient has the shape of its input."""
        a, seen, t = (array(part) for part in ctx.saved_tensors)
        g_found, g_rast = array(given), np.zeros_like(seen)
        wanted = a.shape[2] if ctx.needs_input_grad[1] else 0
        room = VertexGradients(ctx.spans, 3 + wanted, a.dtype)
        calls = []
        for v, band, first, last in bands(*seen.shape[:2]):
            base, gradient = room.of_band(v, band)
            calls.append((t, seen[v], first, last, of_view(a, v), g_found[v], base, g_rast[v], gradient))
        in_threads(kernels_shade.interpolate_backward, calls, torch.get_num_threads())
        g_all = np.zeros((len(seen), a.shape[1], wanted), a.dtype)
        room.collect(np.zeros((len(seen), a.shape[1], 4), a.dtype), g_all)
        return None, shared(a, g_all) if wanted else None, torch.from_numpy(g_rast), None
