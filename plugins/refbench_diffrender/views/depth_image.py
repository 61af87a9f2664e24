"""The state of a depth map: relative depth in about [0, 1], validity, and the offset and scale that make it metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from refbench.contracts.errors import InputError
from refbench_diffrender.losses.filters import median_filter
from refbench_diffrender.views.image_sampling import resize_map

if TYPE_CHECKING:
    from torch import Tensor

MEDIAN = 5
NEAR_MARGIN, FAR_MARGIN = 1e-3, 0.1
"""By how much (m) aligned depths stay within the clip planes."""


@dataclass(frozen=True)
class DepthImage:
    """A depth map [rows, cols] as relative depth."""

    relative: Tensor
    valid: Tensor
    """1 where depth is known, else 0, [rows, cols]."""
    offset: float
    """Depth in metres at relative depth 0."""
    scale: float
    """Metres per relative unit."""
    compat: bool = False
    """As published: nothing is nearer than ``offset``, and gradients end there."""

    @property
    def absolute(self) -> Tensor:
        """Depths in metres [rows, cols]; 0 is unknown."""
        relative = self.relative.clamp(min=0) if self.compat else self.relative
        return (relative * self.scale + self.offset) * self.valid


def normalised(raw: Tensor) -> Tensor:
    """Return the codes of a relative depth map [rows, cols] as float64 in [0, 1]; 0 (unknown) becomes negative.

    Raises
    ------
    InputError
        The map holds one value only.
    """
    codes = raw.double()
    known = codes[codes != 0]
    if known.numel() == 0 or known.min() == known.max():
        raise InputError("The initial depth map has one value only: give a map that shows the scene's relief.")
    risen = codes - known.min()
    return risen / risen.max()


def before_median(
    relative: Tensor, offset: float, scale: float, near_far: tuple[float, float], shape: tuple[int, int]
) -> Tensor:
    """Return float32 relative depth in the working size [rows, cols], its depths kept within ``near_far`` (m)."""
    low, high = near_far[0] + NEAR_MARGIN, near_far[1] - FAR_MARGIN
    clipped = relative.clamp((low - offset) / scale, (high - offset) / scale)
    return resize_map(clipped.float(), shape)


def from_relative(
    relative: Tensor,
    offset: float,
    scale: float,
    near_far: tuple[float, float],
    shape: tuple[int, int],
    *,
    compat: bool = False,
) -> DepthImage:
    """Return the state of an aligned relative map.

    Parameters
    ----------
    relative
        What ``normalised`` returned, float64 [rows, cols] of any size.
    offset, scale
        The alignment, in metres.
    near_far
        Clip planes in metres.
    shape
        Working size (rows, cols).
    compat
        As published: all is valid, the unknown as well.
    """
    found = median_filter(before_median(relative, offset, scale, near_far, shape), MEDIAN)
    valid = torch.ones_like(found) if compat else resize_map((relative >= 0).float(), shape)
    return DepthImage(found, valid, float(offset), float(scale), compat)


def from_absolute(depth: Tensor, *, compat: bool = False) -> DepthImage:
    """Return the state of a depth map in metres [rows, cols] (0: unknown): 0 at its nearest, 1 at its farthest point.

    Raises
    ------
    InputError
        The map holds no two different depths.
    """
    known = depth[depth != 0]
    if known.numel() == 0 or known.min() == known.max():
        raise InputError("The depth map holds no two different depths: give one that shows the scene's relief.")
    offset = known.min()
    scale = (depth - offset).max()
    return from_rendered(depth, float(offset), float(scale), compat=compat)


def from_rendered(depth: Tensor, offset: float, scale: float, *, compat: bool = False) -> DepthImage:
    """Return the state of a depth map in metres [rows, cols] (0: unknown) under a given alignment."""
    return DepthImage(((depth - offset) / scale).float(), (depth.detach() != 0).float(), offset, scale, compat)


def poisson_source(raw: Tensor, unit: float = 0.001) -> Tensor:
    """Return the relative depth whose gradients are to be kept: medians of raw codes [rows, cols], normalised.

    ``unit`` is the length of a code in metres; it drops out but for rounding.
    """
    return median_filter(from_absolute(raw.double() * unit).relative, MEDIAN)
