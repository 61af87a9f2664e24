"""Losses against the sparse points of structure from motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from refbench_diffrender.views.image_sampling import values_at

if TYPE_CHECKING:
    from torch import Tensor

DELTA = 0.5
"""Depth errors beyond this (m) count linearly."""


def relative_huber(found: Tensor, wanted: Tensor, delta: float = DELTA) -> Tensor:
    """Return the mean Huber loss of depths in metres, each divided by the depth that was wanted.

    ``found`` and ``wanted`` are [N].
    """
    return (functional.huber_loss(found, wanted, reduction="none", delta=delta) / wanted).mean()


class PointTerm:
    """Sparse depths against a depth map.

    Parameters
    ----------
    places
        Image positions of the points, as for ``values_at`` [N, 2].
    depths
        Their depths in metres [N], positive.
    delta
        Where the Huber loss becomes linear, in metres.
    """

    def __init__(self, places: Tensor, depths: Tensor, delta: float = DELTA) -> None:
        self.places, self.depths, self.delta = places, depths, delta
        self._shape: tuple[int, ...] = ()

    def __call__(self, depth: Tensor) -> Tensor:
        """Return the loss of depths in metres [rows, cols]."""
        return relative_huber(self.sampled(depth), self.depths, self.delta)

    def sampled(self, depth: Tensor) -> Tensor:
        """Return the depths [N] of the map under the points; 0 outside."""
        if tuple(depth.shape) != self._shape:
            self._remember(tuple(depth.shape), depth.device)
        return depth.reshape(-1)[self._pixels] * self._inside

    def _remember(self, shape: tuple[int, ...], device: torch.device) -> None:
        """Look the pixels up once: points and size stay the same from step to step."""
        number = torch.arange(shape[0] * shape[1], dtype=torch.float64, device=device).reshape(shape) + 1
        found = values_at(number, self.places.to(number)).long()
        self._pixels, self._inside = (found - 1).clamp(min=0), (found > 0).to(self.depths.dtype)
        self._shape = shape
