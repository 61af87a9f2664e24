"""The loss terms that need nothing but their arguments: features, medians, smoothness, consistency, normals.

The terms of every step have modules of their own: ``colour_loss``, ``poisson``, ``edge_map``, ``point_loss``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from refbench_diffrender.losses.edge_map import NEAREST
from refbench_diffrender.losses.filters import gaussian_blur, median_filter
from refbench_diffrender.losses.robust_loss import charbonnier

if TYPE_CHECKING:
    from collections.abc import Sequence

FULL_MASK = 1 - 1e-4
"""A blurred mask from here on is full; float32 weights sum up to a little less than 1."""
BORDER = 4
"""Pixels at the border that the normals' loss leaves out: their derivatives saw zeros."""
AGREEMENT = 1e-3
"""Fraction of the depth from which on a difference between depth maps counts linearly."""


def feature_loss(found: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of features [B, rows, cols, C]; ``mask`` [B, rows, cols, 1] blanks both."""
    return ((wanted * mask - found) ** 2).mean()


def consistency_loss(depth: Tensor, held: Sequence[Tensor | None], visible: Tensor) -> Tensor:
    """Return how much a mesh and the depth maps of the views that see it differ, as a robust fraction of the depth.

    Parameters
    ----------
    depth
        Of the mesh in the views, [B, rows, cols] in metres.
    held
        Their depth maps [rows, cols], 0 unknown, or None; they get no gradient.
    visible
        1 where the mesh counts, else 0, [B, rows, cols, 1].

    Returns
    -------
    The mean over all pixels that count and are known; quadratic up to ``AGREEMENT``, linear beyond; 0 without any.
    """
    total, number = depth.new_zeros(()), depth.new_zeros(())
    for view, known in zip(range(len(depth)), held, strict=True):
        if known is None:
            continue
        counts = visible[view, ..., 0].detach() * (known > 0)
        fraction = (depth[view] - known) / torch.where(known > 0, known, 1)
        total = total + (counts * charbonnier(fraction, AGREEMENT)).sum()
        number = number + counts.sum()
    return total / number.clamp(min=1)


def median_loss(depth: Tensor) -> Tensor:
    """Return the mean squared difference of depths [rows, cols] in metres to their 5 x 5 medians, holes filled."""
    return ((median_filter(depth, 5, fill_holes=True) - depth) ** 2).mean()


def smooth_loss(depth: Tensor, mask: Tensor, *, compat: bool = False) -> Tensor:
    """Return the mean squared relative difference of depths to their blur, which gets no gradient.

    Parameters
    ----------
    depth, mask
        Depths in metres and their validity (0 or 1), [rows, cols]; only pixels with a full 5 x 5 neighbourhood count.
    compat
        As published: 0. There a neighbourhood is full at 1 exactly, which rounding keeps a blurred mask from reaching.
    """
    full = gaussian_blur(mask, 5) >= FULL_MASK
    if compat or not full.any():
        return (depth * 0).sum()
    relative = (gaussian_blur(depth, 5).detach() - depth) / depth.clamp(min=NEAREST)
    return (relative[full] ** 2).mean()


def normal_loss(found: Tensor, wanted: Tensor, certainty: Tensor, edges: Tensor) -> Tensor:
    """Return minus the mean cosine between normals.

    Parameters
    ----------
    found
        Normals of the mesh [B, 3, rows, cols].
    wanted, certainty
        Normals to meet [B, 3, rows, cols] and their weights [B, 1, rows, cols].
    edges
        Further weights [B, 1, rows, cols]: the edge map in [0, 1], so that depth steps do not count.
    """
    inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    cosine = torch.cosine_similarity(found[inner], wanted[inner], dim=1)[:, None]
    return -(edges[inner] * certainty[inner] * cosine).mean()
