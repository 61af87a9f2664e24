"""What another view sees of a mesh: parts that stand for a surface, and pixels that nothing lies before.

Letters: V vertices, T triangles, B target views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from refbench_diffrender.mesh.grid_mesh import facing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from refbench_diffrender.mesh.mesh_state import MeshState


def solid_triangles(mesh: MeshState, cut_deg: float | None, beyond: Tensor | None) -> Tensor:
    """Return the triangles int32 [T, 3] of a mesh that other views may see.

    Parameters
    ----------
    mesh
        As it rests.
    cut_deg
        Triangles that the own view sees under a larger angle to their normal span a step between two surfaces and are
        left out; None keeps them.
    beyond
        Bool [rows, cols], pixels of the own view whose depth nobody knows; triangles with a corner there are left out.
        None: there are none.
    """
    triangles = mesh.triangles
    kept = (triangles >= 0).all(dim=1)
    if beyond is not None:
        kept = kept & ~_under(beyond, mesh.uv())[triangles.long()].any(dim=1)
    if cut_deg is not None:
        points = mesh.view()[:, :3].double().cpu().numpy()
        seen = facing(points, triangles.cpu().numpy(), cut_deg)
        kept = kept & torch.from_numpy(seen).to(kept.device)
    return triangles[kept].contiguous()


def _under(mask: Tensor, uv: Tensor) -> Tensor:
    """Return the values [V] of a bool mask [rows, cols] at texture coordinates [V, 2]."""
    rows, cols = mask.shape
    col = (uv[:, 0] * cols).long().clamp(0, cols - 1)
    row = (uv[:, 1] * rows).long().clamp(0, rows - 1)
    return mask[row, col]


def depth_of(rast: Tensor, projection: Tensor) -> Tensor:
    """Return the depths [B, rows, cols] in metres, without gradient, of what a rasteriser saw; 0 where it saw nothing.

    ``rast`` is what ``Rasteriser.rasterise`` returns, ``projection`` the clip matrix [4, 4] of these views.
    """
    scale, shift = projection[2, 2:].to(rast)
    depth = shift / (rast[..., 2].detach() + scale)
    return torch.where(rast[..., 3] > 0, depth, torch.zeros_like(depth))


def unhidden(depth: Tensor, held: Sequence[Tensor | None], tolerance: float) -> Tensor:
    """Return 1 where nothing that a view knows lies well before a mesh, else 0, [B, rows, cols, 1].

    Parameters
    ----------
    depth
        Of the mesh in the views, [B, rows, cols] in metres.
    held
        The depth map [rows, cols] of every view, 0 unknown: there a pixel counts. None counts everywhere.
    tolerance
        Fraction of its depth by which the mesh may lie behind.
    """
    found = torch.ones_like(depth)
    for view, known in zip(range(len(depth)), held, strict=True):
        if known is not None:
            hidden = (known > 0) & (depth[view] > (1 + tolerance) * known)
            found[view] = (~hidden).to(found)
    return found[..., None]
