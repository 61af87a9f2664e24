"""The edge map of a depth map, and the losses that keep depth steps where they were.

An edge map is about 1 on flat ground and falls to 0 and below near depth steps; because filters see zeros beyond the
border it falls there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from refbench_diffrender.losses.filters import gaussian_blur, gaussian_line, gradients
from refbench_diffrender.losses.fused_loss import FusedLoss, require_sizes, runs_compiled
from refbench_diffrender.rasteriser.autograd import applied
from refbench_diffrender.views.image_sampling import values_at

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 5.0
"""How fast the map falls with the relative depth step."""
NEAREST = 0.01
"""Depths below this (m) count as this: division needs it."""
BLUR_SIZE = 7
INSIDE_ROOT = 1e-6


def edge_map(depth: Tensor, scale: float = SCALE) -> Tensor:
    """Return the edge map of depths in metres, in the shape [..., rows, cols] of ``depth``."""
    known = depth.clamp(min=NEAREST)
    along_cols, along_rows = gradients(known)
    # Relative Prewitt steps: a step of a fifth of the depth brings the map to 0.
    steps = (scale * (along_cols / known).abs()) ** 2 + (scale * (along_rows / known).abs()) ** 2
    return gaussian_blur(1 - torch.sqrt(steps + INSIDE_ROOT), BLUR_SIZE)


class EdgeMapTerm:
    """The mean squared difference of the edge map to the one that is to be kept, both clamped to [-1, 1].

    Parameters
    ----------
    wanted
        The edge map to keep [rows, cols].
    """

    def __init__(self, wanted: Tensor) -> None:
        self.wanted = wanted.detach().clamp(-1, 1)
        self._memory: Any = None

    def __call__(self, depth: Tensor) -> Tensor:
        """Return the loss of depths in metres [rows, cols]."""
        require_sizes(tuple(self.wanted.shape), depth)
        if runs_compiled(depth, self.wanted):
            from refbench_diffrender.losses.kernels_edges import edge_loss, workspace

            if self._memory is None:
                self._memory = workspace(*self.wanted.shape)
            settings = (SCALE, NEAREST, INSIDE_ROOT)
            arguments = (self.wanted, settings, gaussian_line(BLUR_SIZE), self._memory)
            return applied(FusedLoss, edge_loss, depth, *arguments)
        return ((edge_map(depth).clamp(-1, 1) - self.wanted) ** 2).mean()


class UvEdginess:
    """Mean edge map under the mesh's vertices: drives vertices from flat ground to depth steps.

    Parameters
    ----------
    wanted
        The edge map [rows, cols].
    compat
        As published: the map is read with its axes swapped and texture coordinates count from -1. What remains is
        the mean over rows, at the column that v names, faded by u.
    """

    def __init__(self, wanted: Tensor, *, compat: bool = False) -> None:
        self.compat = compat
        self.source = wanted.mean(dim=0) if compat else wanted

    def __call__(self, uv: Tensor) -> Tensor:
        """Return the mean at texture coordinates ``uv`` [V, 2] in [0, 1]."""
        return self._faded(uv) if self.compat else self._sampled(uv)

    def _sampled(self, uv: Tensor) -> Tensor:
        return values_at(self.source, 2 * uv - 1, "bilinear").mean()

    def _faded(self, uv: Tensor) -> Tensor:
        cols = len(self.source)
        # [-1, 1] is read as the image's width, pixel centres at half numbers.
        col = ((uv[:, 1] + 1) * cols - 1) / 2
        left = col.detach().floor()
        fraction = col - left
        taps = [self._at(left.long()), self._at(left.long() + 1)]
        return ((taps[0] * (1 - fraction) + taps[1] * fraction) * (1 - uv[:, 0] / 2)).mean()

    def _at(self, col: Tensor) -> Tensor:
        """Return the row average at columns; 0 beyond the image."""
        inside = (col >= 0) & (col < len(self.source))
        return torch.where(inside, self.source[col.clamp(0, len(self.source) - 1)], self.source.new_zeros(()))
