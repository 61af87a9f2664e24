"""The cameras for tensors: float64 in, the same numbers out as in numpy, gradients through everything.

``camera.to_torch()`` makes them. Points are tensors [..., 3] in scene coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from refbench.geometry.crs_map import CrsMap

Projected = tuple[Tensor, Tensor, Tensor]


class TorchCameraModel(nn.Module):
    """What the models share: without perspective, w is 1."""

    def project(self, xyz: Tensor) -> Projected:
        """Return (col, row, depth), each [...], of ``xyz`` [..., 3]."""
        raise NotImplementedError

    def homogeneous(self, xyz: Tensor) -> Projected:
        """Return (col, row) [..., 2], w = 1 [..., 1] and depth [..., 1] of ``xyz`` [..., 3]."""
        col, row, depth = self.project(xyz)
        depth = depth[..., None]
        return torch.stack([col, row], dim=-1), torch.ones_like(depth), depth


def _tensor(array: NDArray[np.float64]) -> Tensor:
    return torch.tensor(array, dtype=torch.float64)


class TorchPinhole(TorchCameraModel):
    """``Pinhole`` for tensors.

    Its buffers ``K`` [3, 3], ``R`` [3, 3] and ``t`` [3] (float64) may be replaced by tensors with gradients.
    """

    K: Tensor
    R: Tensor
    t: Tensor

    def __init__(self, K: NDArray[np.float64], R: NDArray[np.float64], t: NDArray[np.float64]) -> None:
        super().__init__()
        for name, values in (("K", K), ("R", R), ("t", t)):
            self.register_buffer(name, _tensor(values))

    def project(self, xyz: Tensor) -> Projected:
        """Return (col, row, depth), each [...], of ``xyz`` [..., 3]; col and row are NaN behind the camera."""
        local = xyz @ self.R.T + self.t
        depth = local[..., 2]
        ahead = depth > 0
        # NaN only at the end: inside the graph it would turn gradients of 0 into NaN.
        safe = torch.where(ahead, depth, torch.ones_like(depth))
        x, y = local[..., 0] / safe, local[..., 1] / safe
        col = self.K[0, 0] * x + self.K[0, 1] * y + self.K[0, 2]
        row = self.K[1, 1] * y + self.K[1, 2]
        return torch.where(ahead, col, torch.nan), torch.where(ahead, row, torch.nan), depth

    def homogeneous(self, xyz: Tensor) -> Projected:
        """Return (col * w, row * w) [..., 2], w [..., 1] and the depth, which w is, of ``xyz`` [..., 3]."""
        image = (xyz @ self.R.T + self.t) @ self.K.T
        return image[..., :2], image[..., 2:], image[..., 2:]

    def unproject(self, col: Tensor, row: Tensor, depth: Tensor) -> Tensor:
        """Return scene points [..., 3] of image coordinates and depths (z) [...]."""
        y = (row - self.K[1, 2]) / self.K[1, 1]
        x = (col - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
        return (torch.stack([x * depth, y * depth, depth], dim=-1) - self.t) @ self.R


class TorchAffine(TorchCameraModel):
    """``AffineCamera`` for tensors; buffers ``matrix`` [2, 3], ``offset`` [2], ``origin`` [3], ``direction`` [3]."""

    matrix: Tensor
    offset: Tensor
    origin: Tensor
    direction: Tensor

    def __init__(
        self,
        matrix: NDArray[np.float64],
        offset: NDArray[np.float64],
        origin: NDArray[np.float64],
        direction: NDArray[np.float64],
    ) -> None:
        super().__init__()
        for name, values in (("matrix", matrix), ("offset", offset), ("origin", origin), ("direction", direction)):
            self.register_buffer(name, _tensor(values))

    def project(self, xyz: Tensor) -> Projected:
        """Return (col, row, depth), each [...], of ``xyz`` [..., 3]."""
        local = xyz - self.origin
        image = local @ self.matrix.T + self.offset
        return image[..., 0], image[..., 1], local @ self.direction


class TorchRPC(TorchCameraModel):
    """``RPC`` for tensors, with the map projection ``lonlat`` inside where the camera has a CRS.

    ``cubics`` [4, 20]: numerator and denominator of line, then of sample; ``offsets`` and ``scales`` [5] of longitude,
    latitude, height, sample and line.

    Points must lie in the RPC's domain (a tenth wider than its scales): outside it the projection's polynomial
    does not hold, and col and row are NaN.
    """

    cubics: Tensor
    scales: Tensor
    offsets: Tensor

    def __init__(
        self,
        cubics: NDArray[np.float64],
        offsets: NDArray[np.float64],
        scales: NDArray[np.float64],
        lonlat: CrsMap | None,
    ) -> None:
        super().__init__()
        for name, values in (("cubics", cubics), ("offsets", offsets), ("scales", scales)):
            self.register_buffer(name, _tensor(values))
        self._lonlat = None if lonlat is None else _TorchMap(lonlat)

    def project(self, xyz: Tensor) -> Projected:
        """Return (col, row, depth), each [...], of ``xyz`` [..., 3]; depth is minus the height."""
        lon, lat = (xyz[..., 0], xyz[..., 1]) if self._lonlat is None else self._lonlat(xyz[..., 0], xyz[..., 1])
        lonlath = torch.stack([lon, lat, xyz[..., 2]], dim=-1)
        normal = (lonlath - self.offsets[:3]) / self.scales[:3]
        cubics = _terms(*normal.unbind(-1)) @ self.cubics.T
        col = cubics[..., 2] / cubics[..., 3] * self.scales[3] + self.offsets[3]
        row = cubics[..., 0] / cubics[..., 1] * self.scales[4] + self.offsets[4]
        return col, row, -xyz[..., 2]


class _TorchMap(nn.Module):
    """``CrsMap`` for tensors, inside its box."""

    coefficients: Tensor
    centre: Tensor
    half_size: Tensor

    def __init__(self, numpy_map: CrsMap) -> None:
        super().__init__()
        if numpy_map.coefficients is None:
            raise InputError(f"No polynomial follows {numpy_map.source.to_string()} over this RPC; crop the image.")
        box = numpy_map.box
        self.register_buffer("coefficients", _tensor(numpy_map.coefficients))
        low, high = (torch.tensor(p, dtype=torch.float64) for p in ((box.west, box.south), (box.east, box.north)))
        self.register_buffer("centre", 0.5 * (low + high))
        self.register_buffer("half_size", 0.5 * (high - low))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        u, v = (x - self.centre[0]) / self.half_size[0], (y - self.centre[1]) / self.half_size[1]
        degree = self.coefficients.shape[1] - 1
        products = torch.einsum("...i,kij,...j->k...", _chebyshev(u, degree), self.coefficients, _chebyshev(v, degree))
        outside = (u.abs() > 1) | (v.abs() > 1)
        lon, lat = torch.where(outside, torch.nan, products)
        return lon, lat


def _chebyshev(u: Tensor, degree: int) -> Tensor:
    """Return T_0 ... T_degree of ``u`` [...], [..., degree + 1]."""
    out = [torch.ones_like(u), u]
    for _ in range(2, degree + 1):
        out.append(2 * u * out[-1] - out[-2])
    return torch.stack(out, dim=-1)


def _terms(L: Tensor, P: Tensor, H: Tensor) -> Tensor:
    """Return the 20 terms of RPC00B, [..., 20]."""
    one = torch.ones_like(L)
    quadratic = [one, L, P, H, L * P, L * H, P * H, L * L, P * P, H * H, P * L * H]
    cubic = [L**3, L * P * P, L * H * H, L * L * P, P**3, P * H * H, L * L * H, P * P * H, H**3]
    return torch.stack(quadratic + cubic, dim=-1)
