"""Fewer triangles where a mesh is flat: Open3D's quadric decimation in clip space (docs/methods/diffrender.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from refbench_diffrender.mesh.mesh_state import MeshState

BOUNDARY_WEIGHT = 100.0


def decimated(mesh: MeshState, ratio: float) -> MeshState:
    """Return a mesh with about so many of its triangles; 1 keeps it as it is.

    Raises
    ------
    UnsupportedError
        Open3D is not installed.
    """
    if ratio >= 1:
        return mesh
    try:
        import open3d
    except ImportError:
        raise UnsupportedError(
            "Decimating a mesh needs Open3D: pip install 'refbench[diffrender]' brings it; or keep all triangles."
        ) from None
    kept = mesh.triangles.cpu().numpy()
    kept = kept[(kept >= 0).all(axis=1)]
    surface = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.position.cpu().numpy().astype(np.float64)),
        open3d.utility.Vector3iVector(kept),
    )
    found = surface.simplify_quadric_decimation(int(ratio * len(mesh.triangles)), boundary_weight=BOUNDARY_WEIGHT)
    position = torch.from_numpy(np.asarray(found.vertices).astype(np.float32))
    triangles = torch.from_numpy(np.asarray(found.triangles).astype(np.int32))
    device = mesh.position.device
    return replace(mesh, position=position.to(device), triangles=triangles.to(device))
