"""A rasteriser whose combined operations are its single ones, one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

from refbench_diffrender.rasteriser.shapes import check_attributes, check_channels, check_mesh

if TYPE_CHECKING:
    from torch import Tensor


class StepwiseRasteriser(ABC):
    """Brings ``render`` and ``shade`` of a ``Rasteriser``; a backend that fuses them needs no such base."""

    @abstractmethod
    def rasterise(self, pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
        """See ``Rasteriser``."""

    @abstractmethod
    def interpolate(self, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """See ``Rasteriser``."""

    @abstractmethod
    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """See ``Rasteriser``."""

    def render(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        check_attributes(attributes, len(pos), pos.shape[1])
        rast = self.rasterise(pos, triangles, shape)
        return rast, self.interpolate(attributes, rast, triangles)

    def shade(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, texture: Tensor, shape: tuple[int, int],
        masked: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """See ``Rasteriser``."""
        check_attributes(attributes, len(pos), least=2)
        first = check_channels("masked", masked, texture.shape[-1])
        rast, found = self.render(pos, triangles, attributes, shape)
        sampled = self.texture(texture, found[..., :2])
        if first:
            mask = (rast[..., 3:] > 0).to(sampled.dtype)
            sampled = torch.cat([sampled[..., :first] * mask, sampled[..., first:]], 3)
        return rast, found, sampled
