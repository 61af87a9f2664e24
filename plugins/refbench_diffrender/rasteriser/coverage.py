"""Which triangle covers which pixel, in torch alone: all candidate pixels of all triangles, the nearest by scatter.

The rules and every operation are those of ``kernels_cover``, so the numbers agree. Runs on any device of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_SUBPIXELS = 16
_LIMIT = 2.0**26
_CANDIDATES = 2**22
"""Pixels looked at at a time: 0.5 GiB."""
_NOTHING = 2**63 - 1


def edge_planes(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Homogeneous edge functions and z/w of triangles, as coefficients of a pixel's device coordinates (x, y, 1).

    Parameters
    ----------
    corners
        float64 [N, 3, 4], clip positions of the three vertices.

    Returns
    -------
    Edge functions [N, 3, 3] (the first facing the first vertex, and so on) and z/w [N, 3], not finite where the
    triangle is seen edge-on.
    """
    first, second, third = ((c[:, 0], c[:, 1], c[:, 3]) for c in corners.unbind(1))
    edges = [_cross(second, third), _cross(third, first), _cross(first, second)]
    x, y, w = first
    inverse = 1.0 / (x * edges[0][0] + y * edges[0][1] + w * edges[0][2])
    z = corners[:, :, 2].unbind(1)
    plane = [(z[0] * i + z[1] * j + z[2] * k) * inverse for i, j, k in zip(*edges, strict=True)]
    return torch.stack([torch.stack(edge, 1) for edge in edges], 1), torch.stack(plane, 1)


def _cross(a: tuple[Tensor, Tensor, Tensor], b: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The homogeneous line through two points (x, y, w)."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def centres(count: int, place: Tensor) -> Tensor:
    """Device coordinates of pixel centres, float64. [count], from -1 to 1."""
    return (2 * place + 1).double() / count - 1.0


def nearest_ids(pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
    """Numbers of the nearest triangles plus one, int64 [rows, cols], of one view [V, 4] (without gradients)."""
    best = torch.full((shape[0] * shape[1],), _NOTHING, dtype=torch.int64, device=pos.device)
    usable = ((triangles >= 0) & (triangles < len(pos))).all(1)
    numbers = usable.nonzero()[:, 0]
    corners = triangles[numbers].long()
    clip = pos.detach().double()
    in_front = clip[:, 3] > 0
    half = 0.5 * torch.tensor([shape[1], shape[0]], device=pos.device, dtype=torch.float64) * _SUBPIXELS
    xy = torch.round((clip[:, :2] / clip[:, 3:] + 1.0) * half)
    snapped = in_front & (xy.abs() < _LIMIT).all(1)
    whole = snapped[corners].all(1)
    xy = torch.where(snapped[:, None], xy, 0.0).long()
    _cover_snapped(clip, xy, corners[whole], numbers[whole], shape, best)
    cut = ~whole & in_front[corners].any(1)
    _cover_clipped(clip, corners[cut], numbers[cut], shape, best)
    return torch.where(best == _NOTHING, 0, (best & 0xFFFFFFFF) + 1).view(shape)


def _edge(a: Tensor, b: Tensor) -> Tensor:
    """Integer edge functions a -> b as coefficients [N, 3] of a sample (x, y, 1), positive on the inner side.

    Samples on the edge belong to the triangle only where this is its left or its top edge.
    """
    x, y = (b - a).unbind(1)
    # Samples on an edge that is not the left or top one are moved outside by one unit.
    owned = (y < 0) | ((y == 0) & (x > 0))
    return torch.stack([-y, x, y * a[:, 0] - x * a[:, 1] - (~owned).long()], 1)


def _cover_snapped(
    clip: Tensor, xy: Tensor, corners: Tensor, numbers: Tensor, shape: tuple[int, int], best: Tensor
) -> None:
    """Render triangles of rounded vertices into ``best``."""
    a, b, c = (xy.index_select(0, corner) for corner in corners.unbind(1))
    most = torch.tensor([shape[1] - 1, shape[0] - 1], device=xy.device)
    low = ((torch.minimum(torch.minimum(a, b), c) + 7) >> 4).clamp(min=0)
    high = torch.minimum((torch.maximum(torch.maximum(a, b), c) - 8) >> 4, most)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    size = (high - low + 1).clamp(min=0)
    rendered = ((size > 0).all(1) & (area != 0)).nonzero()[:, 0]
    a, b, c, low, size, corners, numbers, area = (
        x.index_select(0, rendered) for x in (a, b, c, low, size, corners, numbers, area)
    )
    # Nothing is culled: triangles seen from behind are turned.
    turned = (area < 0)[:, None]
    b, c = torch.where(turned, c, b), torch.where(turned, b, c)
    edges = torch.cat([_edge(b, c), _edge(c, a), _edge(a, b)], 1)
    pixels = size.prod(1)
    ends = pixels.cumsum(0)
    start = 0
    while start < len(pixels):
        done = int(ends[start - 1]) if start else 0
        stop = max(int(torch.searchsorted(ends, done + _CANDIDATES, right=True)), start + 1)
        count = pixels[start:stop]
        # Every pixel of every bounding box is a candidate, in portions that fit into memory.
        which = torch.repeat_interleave(torch.arange(start, stop, device=xy.device), count)
        place = torch.arange(len(which), device=xy.device) - (ends - pixels - done).index_select(0, which)
        width, origin = size[:, 0].index_select(0, which), low.index_select(0, which)
        col, row = origin[:, 0] + place % width, origin[:, 1] + place // width
        x, y = 16 * col + 8, 16 * row + 8
        chosen = edges.index_select(0, which)
        inside = (chosen[:, 0] * x + chosen[:, 1] * y + chosen[:, 2]) >= 0
        inside &= (chosen[:, 3] * x + chosen[:, 4] * y + chosen[:, 5]) >= 0
        inside &= (chosen[:, 6] * x + chosen[:, 7] * y + chosen[:, 8]) >= 0
        found = inside.nonzero()[:, 0]
        at = torch.stack([col.index_select(0, found), row.index_select(0, found)], 1)
        _put(clip, corners, numbers, which.index_select(0, found), at, shape, best)
        start = stop


def _cover_clipped(clip: Tensor, corners: Tensor, numbers: Tensor, shape: tuple[int, int], best: Tensor) -> None:
    """Render triangles that reach behind the camera into ``best``."""
    rows, cols = shape
    step = max(1, _CANDIDATES // (rows * cols))
    y, x = torch.meshgrid(torch.arange(rows, device=clip.device), torch.arange(cols, device=clip.device), indexing="ij")
    at = torch.stack([x.ravel(), y.ravel()], 1)
    fx, fy = centres(cols, at[:, 0]), centres(rows, at[:, 1])
    for start in range(0, len(corners), step):
        some = corners[start : start + step]
        edges, _ = edge_planes(clip[some])
        first = clip[some[:, 0]]
        volume = first[:, 0] * edges[:, 0, 0] + first[:, 1] * edges[:, 0, 1] + first[:, 3] * edges[:, 0, 2]
        sign = torch.where(volume > 0, 1.0, -1.0)[:, None]
        inside = ((volume != 0) & volume.isfinite())[:, None].expand(-1, len(at)).clone()
        for n in range(3):
            slope, height = sign * edges[:, n, :1], sign * (edges[:, n, 1:2] * fy + edges[:, n, 2:])
            inside &= slope * fx + height >= 0.0
        which, pixel = inside.nonzero().unbind(1)
        _put(clip, some, numbers[start : start + step], which, at[pixel], shape, best)


def _put(
    clip: Tensor, corners: Tensor, numbers: Tensor, which: Tensor, at: Tensor, shape: tuple[int, int], best: Tensor
) -> None:
    """Keep, for the covered pixels ``at`` of triangles ``which``, the nearest; of equal ones the lowest number."""
    plane = edge_planes(clip[corners.index_select(0, which)])[1]
    fx, fy = centres(shape[1], at[:, 0]), centres(shape[0], at[:, 1])
    depth = (plane[:, 0] * fx + plane[:, 1] * fy + plane[:, 2]).float() + 0.0  # no negative zero
    bits = depth.view(torch.int32).long()
    # Depth and number in one integer that sorts as (depth, number): a float's bits do, negative ones mirrored.
    key = (torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits) << 32) + numbers.index_select(0, which)
    seen = (depth >= -1.0) & (depth <= 1.0)
    best.scatter_reduce_(0, (at[:, 1] * shape[1] + at[:, 0])[seen], key[seen], "amin")
