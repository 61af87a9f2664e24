"""The rasteriser of nvdiffrast on CUDA, which users install from its authors; see ``nvdiffrast_problem``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from refbench_diffrender.rasteriser.shapes import (
    as_indices,
    check_attributes,
    check_channels,
    check_image,
    check_mesh,
    check_texture,
    check_triangles,
)
from refbench_diffrender.rasteriser.stepwise import StepwiseRasteriser

if TYPE_CHECKING:
    from torch import Tensor


class NvdiffrastRasteriser(StepwiseRasteriser):
    """See ``Rasteriser``."""

    name = "nvdiffrast"
    epsilons = True

    def __init__(self, device: str) -> None:
        """``device``: a CUDA device as torch names it."""
        import nvdiffrast.torch  # its users install it themselves, so it is not there to be imported everywhere

        self._dr = nvdiffrast.torch
        self._context = self._dr.RasterizeCudaContext(device)

    def rasterise(self, pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        rast: Tensor = self._dr.rasterize(self._context, pos.contiguous(), as_indices(triangles), tuple(shape))[0]
        return rast

    def interpolate(self, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_image("rast", rast, 4)
        check_triangles(triangles)
        check_attributes(attributes, len(rast))
        found: Tensor = self._dr.interpolate(attributes.contiguous(), rast, as_indices(triangles))[0]
        return found

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_image("uv", uv, 2)
        check_texture(texture, len(uv))
        places = uv.contiguous()
        sampled: Tensor = self._dr.texture(texture.contiguous(), places, filter_mode="linear", boundary_mode="wrap")
        return sampled

    def topology(self, triangles: Tensor) -> object:
        """See ``Rasteriser``."""
        check_triangles(triangles)
        known: object = self._dr.antialias_construct_topology_hash(as_indices(triangles))
        return known

    def antialias(
        self, colour: Tensor, rast: Tensor, pos: Tensor, triangles: Tensor, topology: object | None = None,
        channels: int | None = None,
    ) -> Tensor:  # fmt: skip
        """See ``Rasteriser``."""
        check_image("colour", colour)
        first = check_channels("channels", channels, colour.shape[3])
        mixed: Tensor = self._dr.antialias(
            colour[..., :first].contiguous(), rast, pos.contiguous(), as_indices(triangles), topology_hash=topology
        )
        return mixed if first == colour.shape[3] else torch.cat([mixed, colour[..., first:]], 3)
