"""The rasteriser in torch alone: always there, on any device, slower than the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from refbench_diffrender.rasteriser.antialias import blend
from refbench_diffrender.rasteriser.coverage import centres, edge_planes, nearest_ids
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
from refbench_diffrender.rasteriser.topology import opposite_vertices

if TYPE_CHECKING:
    from torch import Tensor

AREA_EPSILON = 1e-6
PIXEL_EPSILON = 1e-3


class TorchRasteriser(StepwiseRasteriser):
    """See ``Rasteriser``."""

    name = "torch"

    def __init__(self, epsilons: bool = True) -> None:
        """``epsilons``: see ``rasteriser``."""
        self.epsilons = epsilons

    def rasterise(self, pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        epsilon = AREA_EPSILON if self.epsilons else 0.0
        ids = torch.stack([nearest_ids(view, triangles, shape) for view in pos])
        view, row, col = ids.nonzero().unbind(1)
        number = ids[view, row, col]
        corners = _rows_of(pos, view, triangles.index_select(0, number - 1)).double()
        edges, plane = edge_planes(corners)
        at = torch.stack([centres(shape[1], col), centres(shape[0], row), torch.ones_like(row).double()], 1)
        value = (edges * at[:, None]).sum(2)
        weights = _weights(value, epsilon)
        depth = (plane * at).sum(1).detach()
        seen = torch.stack([weights[:, 0], weights[:, 1], depth, number.double()], 1).to(pos.dtype)
        return pos.new_zeros((*ids.shape, 4)).index_put((view, row, col), seen)

    def interpolate(self, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_image("rast", rast, 4)
        check_triangles(triangles)
        check_attributes(attributes, len(rast))
        view, row, col = (rast[..., 3].detach() > 0).nonzero().unbind(1)
        seen = rast[view, row, col]
        number = seen[:, 3].detach().long() - 1
        values = _rows_of(attributes, view, triangles.index_select(0, number))
        u, v = seen[:, :1], seen[:, 1:2]
        found = u * values[:, 0] + v * values[:, 1] + (1.0 - u - v) * values[:, 2]
        return rast.new_zeros((*rast.shape[:3], attributes.shape[2])).index_put((view, row, col), found)

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_image("uv", uv, 2)
        check_texture(texture, len(uv))
        height, width = texture.shape[1:3]
        x0, x1, s = _taps(uv[..., 0], width)
        y0, y1, t = _taps(uv[..., 1], height)
        first = torch.arange(len(texture), device=uv.device)[:, None, None] * (height * width)
        texels = texture.reshape(-1, texture.shape[3])

        def row(y: Tensor) -> Tensor:
            ends = [
                texels.index_select(0, (first + y * width + x).ravel()).view(*uv.shape[:3], texture.shape[3])
                for x in (x0, x1)
            ]
            return (1.0 - s) * ends[0] + s * ends[1]

        return (1.0 - t) * row(y0) + t * row(y1)

    def topology(self, triangles: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_triangles(triangles)
        return torch.from_numpy(opposite_vertices(as_indices(triangles).cpu().numpy())).to(triangles.device)

    def antialias(
        self, colour: Tensor, rast: Tensor, pos: Tensor, triangles: Tensor, topology: object | None = None,
        channels: int | None = None,
    ) -> Tensor:  # fmt: skip
        """See ``Rasteriser``."""
        check_image("colour", colour)
        first = check_channels("channels", channels, colour.shape[3])
        check_image("rast", rast, 4)
        check_mesh(pos, triangles, (rast.shape[1], rast.shape[2]))
        opposite = self.topology(triangles) if topology is None else cast("Tensor", topology)
        epsilon = PIXEL_EPSILON if self.epsilons else 0.0
        mixed = blend(colour[..., :first], rast.detach(), pos, triangles, opposite, epsilon)
        return mixed if first == colour.shape[3] else torch.cat([mixed, colour[..., first:]], 3)


def _rows_of(values: Tensor, view: Tensor, corners: Tensor) -> Tensor:
    """Rows [N, 3, C] of [1 or B, V, C]: of each pixel's view, the three corners [N, 3] of its triangle."""
    place = corners.long() if len(values) == 1 else corners + view[:, None] * values.shape[1]
    return values.reshape(-1, values.shape[2]).index_select(0, place.ravel()).view(*corners.shape, values.shape[2])


def _weights(edges: Tensor, epsilon: float) -> Tensor:
    """Weights of the first two vertices [N, 2] from edge functions [N, 3]: clamped, with damped gradients."""
    area = edges.sum(1, keepdim=True)
    area = torch.where(area == 0, torch.inf, area)
    # Value of the exact quotient, gradient of the damped one.
    damped = edges[:, :2] / (area + torch.where(area < 0, -epsilon, epsilon))
    exact = (edges[:, :2] / area).detach().clamp(0.0, 1.0)
    exact = exact / exact.sum(1, keepdim=True).clamp(min=1.0)
    return damped + (exact - damped).detach()


def _taps(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two texels that coordinates lie between, and the weight [..., 1] of the second."""
    # Texel centres lie at half numbers; coordinates wrap with period 1.
    place = (place - place.detach().floor()) * size - 0.5
    first = place.detach().floor()
    fraction = (place - first)[..., None]
    index = first.long()
    return index % size, (index + 1) % size, fraction
