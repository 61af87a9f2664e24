"""A DSM as the mesh that is refined: vertices at the centres of its cells that move up and down. Letters: V vertices.

What the optimiser moves is not the heights but a field whose diffusion they are: ``change = (1 + reach^2 L)^-1 field``,
L the Laplacian of the grid with mirrored borders. A gradient at one cell then moves its surroundings, too (Nicolet,
Jacobson and Jakob, "Large steps in inverse rendering of geometry", 2021). The cosine transform makes L diagonal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench_diffrender.mesh.grid_mesh import cell_points, grid_triangles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench import Grid


class HeightField:
    """The surface of a block.

    Parameters
    ----------
    heights
        Initial ones, metres [rows, cols], all known.
    grid
        Of these heights.
    reach
        How far a step at one cell spreads, cells.
    device
        Where it is optimised.
    """

    def __init__(self, heights: NDArray[np.floating], grid: Grid, reach: float, device: str) -> None:
        rows, cols = heights.shape
        self.initial = torch.from_numpy(np.array(heights, np.float64)).to(device)
        self.vertices = cell_points(heights, grid)
        self._xy = torch.from_numpy(self.vertices[:, :2].copy()).to(device)
        self.triangles = torch.from_numpy(grid_triangles(rows, cols)).to(device)
        self.field = torch.zeros(rows, cols, device=device, requires_grad=True)
        self._waves = [_cosines(side, device) for side in (rows, cols)]
        # Eigenvalues of the 1-D Laplacian with mirrored borders, of wave number n: 2 - 2 cos(pi n / side).
        roots = [2 - 2 * torch.cos(torch.pi * torch.arange(side, device=device) / side) for side in (rows, cols)]
        self._kept = 1 / (1 + reach**2 * (roots[0][:, None] + roots[1][None]))

    def change(self) -> Tensor:
        """Return by how many metres the heights were moved, float32 [rows, cols]."""
        down, across = self._waves
        # DCT along both axes, divided by the eigenvalues of 1 + reach^2 L, and back.
        waves = down @ self.field @ across.T
        moved: Tensor = down.T @ (waves * self._kept) @ across
        return moved

    def heights(self) -> Tensor:
        """Return the heights now, float64 [rows, cols] in metres."""
        return self.initial + self.change()

    def points(self, heights: Tensor) -> Tensor:
        """Return the vertices float64 [V, 3] in scene coordinates."""
        return torch.cat([self._xy, heights.reshape(-1, 1)], dim=1)


def _cosines(side: int, device: str) -> Tensor:
    """Return the orthonormal matrix [side, side] of the cosine transform (DCT-II)."""
    number = torch.arange(side, dtype=torch.float64, device=device)
    waves: Tensor = torch.cos(torch.pi / side * (number[None] + 0.5) * number[:, None]) * (2 / side) ** 0.5
    waves[0] /= 2**0.5
    return waves.float()
