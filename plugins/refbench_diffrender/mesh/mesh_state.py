"""The optimised mesh: vertices in clip space and what moves them (docs/methods/diffrender.md). V: vertices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from refbench_diffrender.depth_mode.transfer_mlp import TransferFunction

LEAST = 1e-12
NEAR_ROOM, FAR_FRACTION = 1e-6, 0.999
STEP_FRACTION = 0.25
"""Of the distance between vertices, in clip units of half an image."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshState:
    """``position`` [V, 3] after division, in [-1, 1]; ``triangles`` int32 [T, 3]; the clip matrix and its planes.

    ``stride`` is the distance of vertices in pixels of an image of ``shape`` (rows, cols).
    """

    position: Tensor
    triangles: Tensor
    projection: Tensor
    near: float
    far: float
    stride: int
    shape: tuple[int, int]
    inverse: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Invert the clip matrix once, in float64."""
        inverse = torch.linalg.inv(self.projection.double()).to(self.position)
        object.__setattr__(self, "inverse", inverse)

    @classmethod
    def of_view(
        cls,
        view: Tensor,
        triangles: Tensor,
        projection: Tensor,
        planes: tuple[float, float],
        stride: int,
        shape: tuple[int, int],
    ) -> MeshState:
        """Return the state of view points [V, 3 or 4]; ``planes`` are near and far. Metres, OpenGL axes."""
        return cls(clipped(view[:, :3], projection), triangles, projection, *planes, stride, shape)

    def moved(self, offset: Tensor | None) -> Tensor:
        """Return clip positions [V, 3], moved by ``offset`` [V, 2], an eighth of a vertex distance at most."""
        if offset is None:
            return self.position
        rows, cols = self.shape
        most = STEP_FRACTION * self.stride / torch.tensor([cols, rows], dtype=offset.dtype, device=offset.device)
        xy = (self.position[:, :2] + torch.minimum(torch.maximum(offset, -most), most)).clamp(-1, 1)
        return torch.cat([xy, self.position[:, 2:]], dim=1)

    def uv(self, offset: Tensor | None = None) -> Tensor:
        """Return texture coordinates [V, 2] in [0, 1]."""
        return 0.5 * self.moved(offset)[:, :2] + 0.5

    def view(
        self,
        *,
        offset: Tensor | None = None,
        factor: Tensor | None = None,
        transfer: TransferFunction | None = None,
        scale: Tensor | tuple[float, float] | None = None,
    ) -> Tensor:
        """Return view points [V, 4] (OpenGL axes, last number 1).

        Parameters
        ----------
        offset
            [V, 2] in clip units, see ``moved``.
        factor
            [V, 1]: depths are divided by it.
        transfer
            The depth transfer function.
        scale
            Offset along the ray in metres, and factor, applied first.
        """
        place = self.moved(offset)
        ones = torch.ones_like(place[:, :1])
        points = torch.cat([place, ones], dim=1) @ self.inverse.T
        points = points[:, :3] / points[:, 3:]
        if scale is not None:
            along, size = torch.as_tensor(scale, device=points.device).to(points)
            points = (points + points / points.norm(dim=1, keepdim=True) * along) * size.clamp(min=LEAST)
        if transfer is not None:
            points = points / points[:, 2:] * -transfer.depth(0.5 * place[:, :2] + 0.5, points[:, 2:])
        if factor is not None:
            points = points / factor.clamp(min=LEAST)
        points = points * (-FAR_FRACTION * self.far / points[:, 2:]).clamp(max=1)
        points = points * (-(self.near + NEAR_ROOM) / points[:, 2:]).clamp(min=1)
        return torch.cat([points, ones], dim=1)

    @torch.no_grad()
    def baked(self, view: Tensor, triangles: Tensor | None = None) -> MeshState:
        """Return the state whose vertices rest where ``view`` [V, 4] has them. Metres, OpenGL axes."""
        kept = self.triangles if triangles is None else triangles
        return replace(self, position=clipped(view[:, :3], self.projection), triangles=kept)


def clipped(view: Tensor, projection: Tensor) -> Tensor:
    """Return clip positions [V, 3] after division, in [-1, 1], of view points [V, 3]."""
    homogeneous = torch.cat([view, torch.ones_like(view[:, :1])], dim=1) @ projection.to(view).T
    return (homogeneous[:, :3] / homogeneous[:, 3:]).clamp(-1, 1)
