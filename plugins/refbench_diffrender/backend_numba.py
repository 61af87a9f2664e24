"""The rasteriser on the CPU: compiled kernels inside autograd functions, on as many threads as torch uses.

Results and gradients do not depend on the number of threads: depth buffers are merged by depth and number, gradients
are summed over fixed bands in a fixed order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from refbench_diffrender import kernels_antialias, kernels_cover, kernels_shade, kernels_texture
from refbench_diffrender.compiled import in_threads
from refbench_diffrender.shapes import (
    as_indices,
    check_attributes,
    check_mesh,
    check_picture,
    check_texture,
    check_triangles,
)
from refbench_diffrender.topology import opposite_vertices

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_BANDS = 8
"""Bands of rows over all views, at least two of a view."""


class NumbaRasteriser:
    """See ``Rasteriser``."""

    name = "numba"

    def __init__(self, epsilons: bool = True) -> None:
        """``epsilons``: see ``rasteriser``."""
        self.epsilons = epsilons

    def rasterise(self, pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
        """See ``Rasteriser``."""
        return self.draw(pos, triangles, pos.new_zeros((1, pos.shape[1], 0)), shape)[0]

    def draw(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        check_attributes(attributes, len(pos), pos.shape[1])
        none = pos.new_zeros((1, 1, 1, 0))
        rast, found, _ = _Shade.apply(pos, attributes, none, as_indices(triangles), tuple(shape), self._area_epsilon)
        return rast, found

    def shade(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, texture: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        check_attributes(attributes, len(pos), pos.shape[1], least=2)
        check_texture(texture, len(pos))
        found = _Shade.apply(pos, attributes, texture, as_indices(triangles), tuple(shape), self._area_epsilon)
        return found[0], found[1], found[2]

    def interpolate(self, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_picture("rast", rast, 4)
        check_triangles(triangles)
        check_attributes(attributes, len(rast))
        return _Interpolate.apply(attributes, rast, as_indices(triangles))  # type: ignore[no-any-return]

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_picture("uv", uv, 2)
        check_texture(texture, len(uv))
        return _Texture.apply(texture, uv)  # type: ignore[no-any-return]

    def topology(self, triangles: Tensor) -> NDArray[np.int32]:
        """See ``Rasteriser``."""
        check_triangles(triangles)
        return opposite_vertices(as_indices(triangles).numpy())

    def antialias(
        self, colour: Tensor, rast: Tensor, pos: Tensor, triangles: Tensor, topology: Any | None = None
    ) -> Tensor:
        """See ``Rasteriser``."""
        check_picture("colour", colour)
        check_picture("rast", rast, 4)
        check_mesh(pos, triangles, (rast.shape[1], rast.shape[2]))
        opposite = self.topology(triangles) if topology is None else topology
        epsilon = kernels_antialias.PIXEL_EPSILON if self.epsilons else 0.0
        return _Antialias.apply(colour, pos, rast, as_indices(triangles), opposite, epsilon)  # type: ignore[no-any-return]

    @property
    def _area_epsilon(self) -> float:
        return kernels_shade.AREA_EPSILON if self.epsilons else 0.0


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()


def _cotangent(given: Tensor | None, like: Tensor) -> NDArray[Any]:
    """A cotangent, or one without channels where none came."""
    return _array(like.new_zeros((*like.shape[:3], 0)) if given is None else given)


def _of_view(array: NDArray[Any], view: int) -> NDArray[Any]:
    return array[view if len(array) > 1 else 0]


def _cuts(total: int, parts: int) -> list[tuple[int, int]]:
    """Consecutive ranges of nearly equal lengths."""
    ends = [total * part // parts for part in range(parts + 1)]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _bands(views: int, rows: int) -> list[tuple[int, int, int, int]]:
    """(view, band, first row, last row): the same for any number of threads."""
    cuts = _cuts(rows, max(2, _BANDS // views))
    return [(view, band, *cut) for view in range(views) for band, cut in enumerate(cuts)]


def _cover(pos: NDArray[Any], triangles: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Numbers of the nearest triangles plus one, int32 [B, rows, cols]."""
    threads, (views, vertices) = torch.get_num_threads(), pos.shape[:2]
    parts = max(1, -(-threads // views))
    xy = np.empty((views, vertices, 2), np.int32)
    nearest, ids = np.empty((views, parts, *shape), np.float32), np.empty((views, parts, *shape), np.int32)
    of_vertices = [(view, *cut) for view in range(views) for cut in _cuts(vertices, parts)]
    calls = [(pos[view], *shape, first, last, xy[view]) for view, first, last in of_vertices]
    in_threads(kernels_cover.snap, calls, threads)
    of_triangles = [(view, part, *cut) for view in range(views) for part, cut in enumerate(_cuts(len(triangles), parts))]
    in_threads(
        kernels_cover.cover,
        [
            (pos[view], xy[view], triangles, first, last, nearest[view, part], ids[view, part])
            for view, part, first, last in of_triangles
        ],
        threads,
    )
    if parts > 1:
        of_rows = [(view, *cut) for view in range(views) for cut in _cuts(shape[0], parts)]
        in_threads(kernels_cover.nearest_of, [(nearest[view], ids[view], *cut) for view, *cut in of_rows], threads)
    return ids[:, 0]


class _Gradients:
    """Room for the vertex gradients of all bands: columns x, y, w, then attributes where these are wanted."""

    def __init__(self, spans: NDArray[np.int32], columns: int, dtype: Any) -> None:
        """``spans`` int32 [B, bands, 2]: the smallest and the largest vertex number of every band."""
        self.spans = spans
        sizes = np.maximum(spans[:, :, 1] - spans[:, :, 0] + 1, 0)
        self.offsets = np.concatenate([np.zeros((len(spans), 1), np.int64), np.cumsum(sizes, axis=1)], axis=1)
        self.flat = [np.zeros((int(ends[-1]), columns), dtype) for ends in self.offsets]

    def of_band(self, view: int, band: int) -> tuple[int, NDArray[Any]]:
        """The first vertex of a band, and its rows."""
        first, last = self.offsets[view, band], self.offsets[view, band + 1]
        return int(self.spans[view, band, 0]), self.flat[view][first:last]

    def collect(self, g_pos: NDArray[Any], g_attributes: NDArray[Any]) -> None:
        """Add the bands to [B, V, 4] and [B, V, C]."""
        calls = [
            (self.flat[view], self.offsets[view], self.spans[view], g_pos[view], g_attributes[view])
            for view in range(len(self.spans))
        ]
        in_threads(kernels_shade.collect, calls, torch.get_num_threads())


def _like(attributes: NDArray[Any], gradient: NDArray[Any]) -> Tensor:
    """Gradients [B, V, C] summed over the views where these share the attributes."""
    return torch.from_numpy(gradient.sum(axis=0, keepdims=True) if len(attributes) < len(gradient) else gradient)


class _Shade(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, pos: Tensor, attributes: Tensor, texture: Tensor, triangles: Tensor, shape: tuple[int, int],
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        p, a, image, t = _array(pos), _array(attributes), _array(texture), triangles.numpy()
        views = len(p)
        ids, bands = _cover(p, t, shape), _bands(views, shape[0])
        rast, found = pos.new_empty((views, *shape, 4)), pos.new_empty((views, *shape, a.shape[2]))
        sampled = pos.new_empty((views, *shape, image.shape[3]))
        spans = np.empty((views, len(bands) // views, 2), np.int32)
        out = rast.numpy(), found.numpy(), sampled.numpy()
        calls = [
            (p[v], t, ids[v], first, last, _of_view(a, v), _of_view(image, v), *(o[v] for o in out), spans[v, band])
            for v, band, first, last in bands
        ]
        in_threads(kernels_shade.shade, calls, torch.get_num_threads())
        ctx.save_for_backward(pos, attributes, texture, triangles, rast, found)
        ctx.spans, ctx.epsilon = spans, epsilon
        ctx.set_materialize_grads(False)
        return rast, found, sampled

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(  # type: ignore[override]
        ctx: Any, given_rast: Tensor | None, given_found: Tensor | None, given_sampled: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        pos, attributes, texture, triangles, rast, found = ctx.saved_tensors
        p, a, image, t, seen = (_array(part) for part in (pos, attributes, texture, triangles, rast))
        g_rast, g_found, g_sampled = (_cotangent(g, rast) for g in (given_rast, given_found, given_sampled))
        g_pos, g_attributes, g_texture = np.zeros_like(p), None, None
        wanted = a.shape[2] if ctx.needs_input_grad[1] else 0
        if ctx.needs_input_grad[0] or wanted:
            room = _Gradients(ctx.spans, 3 + wanted, p.dtype)
            calls = [
                (p[v], t, seen[v], first, last, _of_view(a, v), _of_view(image, v), g_rast[v], g_found[v], g_sampled[v],
                 ctx.epsilon, *room.of_band(v, band))
                for v, band, first, last in _bands(*seen.shape[:2])
            ]  # fmt: skip
            in_threads(kernels_shade.shade_backward, calls, torch.get_num_threads())
            g_all = np.zeros((*p.shape[:2], wanted), p.dtype)
            room.collect(g_pos, g_all)
            g_attributes = _like(a, g_all) if wanted else None
        if ctx.needs_input_grad[2] and given_sampled is not None:
            g_texture = _texture_gradient(texture, found, g_sampled)
        return torch.from_numpy(g_pos), g_attributes, g_texture, None, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:  # type: ignore[override]
        a, seen, t = _array(attributes), _array(rast), triangles.numpy()
        found = rast.new_empty((*rast.shape[:3], a.shape[2]))
        out, bands = found.numpy(), _bands(*seen.shape[:2])
        spans = np.empty((len(seen), len(bands) // len(seen), 2), np.int32)
        calls = [(t, seen[v], first, last, _of_view(a, v), out[v], spans[v, band]) for v, band, first, last in bands]
        in_threads(kernels_shade.interpolate, calls, torch.get_num_threads())
        ctx.save_for_backward(attributes, rast, triangles)
        ctx.spans = spans
        return found

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        a, seen, t = (_array(part) for part in ctx.saved_tensors)
        g_found, g_rast = _array(given), np.zeros_like(seen)
        wanted = a.shape[2] if ctx.needs_input_grad[0] else 0
        room = _Gradients(ctx.spans, 3 + wanted, a.dtype)
        calls = []
        for v, band, first, last in _bands(*seen.shape[:2]):
            base, gradient = room.of_band(v, band)
            calls.append((t, seen[v], first, last, _of_view(a, v), g_found[v], base, g_rast[v], gradient))
        in_threads(kernels_shade.interpolate_backward, calls, torch.get_num_threads())
        g_all = np.zeros((len(seen), a.shape[1], wanted), a.dtype)
        room.collect(np.zeros((len(seen), a.shape[1], 4), a.dtype), g_all)
        return _like(a, g_all) if wanted else None, torch.from_numpy(g_rast), None


def _texture_gradient(texture: Tensor, uv: Tensor, cotangent: NDArray[Any]) -> Tensor:
    """The gradient to a texture; views that share one follow one another."""
    places, gradient = _array(uv), torch.zeros_like(texture, memory_format=torch.contiguous_format)
    out = gradient.numpy()
    calls = [(places[view], cotangent[view], _of_view(out, view)) for view in range(len(places))]
    in_threads(kernels_texture.splat, calls, torch.get_num_threads() if len(out) > 1 else 1)
    return gradient


class _Texture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, texture: Tensor, uv: Tensor) -> Tensor:  # type: ignore[override]
        image, places = _array(texture), _array(uv)
        sampled = uv.new_empty((*uv.shape[:3], image.shape[3]))
        out, bands = sampled.numpy(), _bands(*places.shape[:2])
        calls = [(_of_view(image, v), places[v], first, last, out[v]) for v, _, first, last in bands]
        in_threads(kernels_texture.lookup, calls, torch.get_num_threads())
        ctx.save_for_backward(texture, uv)
        return sampled

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        texture, uv = ctx.saved_tensors
        image, places, cotangent = _array(texture), _array(uv), _array(given)
        g_uv, g_texture = None, None
        if ctx.needs_input_grad[1]:
            g_uv = torch.empty_like(uv, memory_format=torch.contiguous_format)
            out = g_uv.numpy()
            calls = [
                (_of_view(image, v), places[v], cotangent[v], first, last, out[v])
                for v, _, first, last in _bands(*places.shape[:2])
            ]
            in_threads(kernels_texture.lookup_slope, calls, torch.get_num_threads())
        if ctx.needs_input_grad[0]:
            g_texture = _texture_gradient(texture, uv, cotangent)
        return g_texture, g_uv


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, colour: Tensor, pos: Tensor, rast: Tensor, triangles: Tensor, opposite: NDArray[np.int32],
        epsilon: float,
    ) -> Tensor:  # fmt: skip
        p, seen, t, picture = _array(pos), _array(rast), triangles.numpy(), _array(colour)
        views, rows, cols = seen.shape[:3]
        flags = np.zeros((views, max(len(t), 1)), np.uint8)
        blends, shares = np.empty((views, rows, 2 * cols), np.int32), np.empty((views, rows, 2 * cols))
        counts = np.empty((views, rows), np.int32)
        calls = [
            (p[v], t, opposite, seen[v], first, last, flags[v], blends[v], shares[v], counts[v])
            for v, _, first, last in _bands(views, rows)
        ]
        in_threads(kernels_antialias.find_blends, calls, torch.get_num_threads())
        mixed = colour.detach().clone(memory_format=torch.contiguous_format)
        out = mixed.numpy()
        calls = [(picture[v], blends[v], shares[v], counts[v], out[v]) for v in range(views)]
        in_threads(kernels_antialias.blend, calls, torch.get_num_threads())
        ctx.save_for_backward(colour, pos, rast, triangles)
        ctx.blends, ctx.epsilon = (blends, shares, counts), epsilon
        return mixed

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        picture, p, seen, t = (_array(part) for part in ctx.saved_tensors)
        g_out, g_pos = _array(given), np.zeros_like(p)
        g_colour = g_out.copy()
        blends, shares, counts = ctx.blends
        calls = [
            (p[v], t, seen[v], picture[v], g_out[v], blends[v], shares[v], counts[v], ctx.epsilon, g_colour[v], g_pos[v])
            for v in range(len(p))
        ]
        in_threads(kernels_antialias.blend_backward, calls, torch.get_num_threads())
        return torch.from_numpy(g_colour), torch.from_numpy(g_pos), None, None, None, None
