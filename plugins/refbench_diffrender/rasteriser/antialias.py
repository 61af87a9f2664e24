"""Blending of neighbouring pixels across silhouettes, in torch alone; the rules are those of ``kernels_antialias``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_MARGIN = 1.0 / 16.0


def blend(colour: Tensor, rast: Tensor, pos: Tensor, triangles: Tensor, opposite: Tensor, epsilon: float) -> Tensor:
    """Return ``colour`` [B, rows, cols, C] blended; see ``Rasteriser.antialias``.

    ``opposite`` [T, 3] are the vertices across the edges, ``epsilon`` (pixels) damps the gradients to positions.
    """
    views, rows, cols = rast.shape[:3]
    pixel = torch.arange(views * rows * cols, device=rast.device).view(views, rows, cols)
    flat, mixed = colour.reshape(-1, colour.shape[3]), colour.reshape(-1, colour.shape[3])
    for down in (False, True):
        first = (pixel[:, :-1] if down else pixel[:, :, :-1]).reshape(-1)
        second = (pixel[:, 1:] if down else pixel[:, :, 1:]).reshape(-1)
        first, second, alpha = _alphas(rast, pos, triangles, opposite, epsilon, first, second, down)
        target = torch.where(alpha.detach() > 0, first, second)
        mixed = mixed.index_put(
            (target,), (alpha[:, None] * (flat[second] - flat[first])).to(flat.dtype), accumulate=True
        )
    return mixed.view(colour.shape)


def _alphas(
    rast: Tensor, pos: Tensor, triangles: Tensor, opposite: Tensor, epsilon: float, first: Tensor, second: Tensor,
    down: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The pairs of pixels that are blends, and their shares: positive ones go to the first pixel."""
    rows, cols = rast.shape[1:3]
    ids, depth = rast[..., 3].reshape(-1), rast[..., 2].reshape(-1)
    differ = ids[first] != ids[second]
    first, second = first[differ], second[differ]
    # The nearer triangle's edge hides the other one; where only one is there, it is that one's.
    side = (ids[first] == 0) | ((ids[second] > 0) & (depth[second] < depth[first]))
    chosen = torch.where(side, second, first)
    corners = triangles[ids[chosen].long() - 1].long()
    clip = pos[(chosen // (rows * cols))[:, None], corners].double()
    keep = (clip[..., 3] > 0).all(1).nonzero()[:, 0]
    first, second, side, chosen, corners, clip = (x[keep] for x in (first, second, side, chosen, corners, clip))
    centre = torch.stack([chosen % cols, chosen // cols % rows], 1) + 0.5
    scale = 0.5 * torch.tensor([cols, rows], device=pos.device, dtype=torch.float64)
    # Corners in pixels from the centre of the chosen pixel.
    place = (clip[..., :2] / clip[..., 3:] + 1.0) * scale - centre[:, None]
    if down:
        place = place.flip(-1)
    edge, reach = _last_crossing(place.detach(), side)
    across = torch.arange(len(edge), device=pos.device)
    i, j = (edge + 1) % 3, (edge + 2) % 3
    ends = place[across, i], place[across, j]
    steep = (ends[1] - ends[0]).detach().abs()
    good = reach.isfinite() & (steep[:, 1] >= steep[:, 0]) & (reach >= -_MARGIN) & (reach <= 1.0 + _MARGIN)
    number = ids[chosen].long() - 1
    good &= _silhouette(pos, clip.detach(), chosen // (rows * cols), opposite[number, edge].long(), edge)
    first, second, side, reach = first[good], second[good], side[good], reach[good]
    crossing = _crossing(ends[0][good], ends[1][good], epsilon)
    free = (reach > 0.0) & (reach < 1.0)
    reach = torch.where(free, torch.where(side, -crossing, crossing), reach.clamp(0.0, 1.0))
    return first, second, torch.where(side, reach - 0.5, 0.5 - reach)


def _crossing(one: Tensor, other: Tensor, epsilon: float) -> Tensor:
    """Where edges (along, across) [N, 2] cross the line through the centres, with damped gradients."""
    span = other[:, 1] - one[:, 1]
    top = one[:, 0] * other[:, 1] - other[:, 0] * one[:, 1]
    damped = top / (span + torch.where(span < 0, -epsilon, epsilon))
    # Value of the exact quotient, gradient of the damped one.
    return damped + (top / span - damped).detach()


def _last_crossing(place: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Of each triangle [N, 3, 2] the edge crossed last on the way to the other pixel, and where (-inf: none)."""
    reaches = []
    for n in range(3):
        one, other = place[:, (n + 1) % 3], place[:, (n + 2) % 3]
        found = _crossing(one, other, 0.0)
        straddles = (one[:, 1] < 0.0) != (other[:, 1] < 0.0)
        reaches.append(torch.where(straddles, torch.where(side, -found, found), -torch.inf))
    reach, edge = torch.stack(reaches, 1).max(1)
    return edge, reach


def _silhouette(pos: Tensor, clip: Tensor, view: Tensor, other: Tensor, edge: Tensor) -> Tensor:
    """Whether nothing continues the surface beyond an edge: both triangles lie on one side of it, or one is."""
    across = torch.arange(len(edge), device=pos.device)
    own, one, two = (clip[across, (edge + n) % 3][:, [0, 1, 3]] for n in range(3))
    beyond = pos.detach()[view, other.clamp(min=0)].double()[:, [0, 1, 3]]
    # The plane through the eye and the edge; signs tell on which side a vertex lies.
    normal = torch.linalg.cross(one, two)
    first, second = (normal * own).sum(1), (normal * beyond).sum(1)
    found: Tensor = (other < 0) | ((first < 0.0) == (second < 0.0))
    return found
