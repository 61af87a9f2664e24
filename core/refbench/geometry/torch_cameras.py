"""Differentiable twins of the cameras: float64 tensors in, the same numbers out, gradients through everything.

``twin(camera)`` gives the module of any camera. Points are tensors [..., 3] in scene coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from refbench.contracts.errors import InputError
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole
from refbench.geometry.rpc import RPC
from refbench.geometry.rpc_tags import POLYNOMIALS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera

Projected = tuple[Tensor, Tensor, Tensor]


def _tensor(array: NDArray[np.float64]) -> Tensor:
    return torch.tensor(array, dtype=torch.float64)


class TorchPinhole(nn.Module):
    """Twin of ``Pinhole``. Its buffers ``K``, ``R``, ``t`` (float64) may be replaced by tensors with gradients."""

    K: Tensor
    R: Tensor
    t: Tensor

    def __init__(self, camera: Pinhole) -> None:
        super().__init__()
        for name in ("K", "R", "t"):
            self.register_buffer(name, _tensor(getattr(camera, name)))

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

    def unproject(self, col: Tensor, row: Tensor, depth: Tensor) -> Tensor:
        """Return scene points [..., 3] of image coordinates and depths (z) [...]."""
        y = (row - self.K[1, 2]) / self.K[1, 1]
        x = (col - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
        return (torch.stack([x * depth, y * depth, depth], dim=-1) - self.t) @ self.R


class TorchAffine(nn.Module):
    """Twin of ``AffineCamera``; buffers ``matrix``, ``offset``, ``origin``, ``direction``, all float64."""

    matrix: Tensor
    offset: Tensor
    origin: Tensor
    direction: Tensor

    def __init__(self, camera: AffineCamera) -> None:
        super().__init__()
        for name in ("matrix", "offset", "origin", "direction"):
            self.register_buffer(name, _tensor(getattr(camera, name)))

    def project(self, xyz: Tensor) -> Projected:
        """Return (col, row, depth), each [...], of ``xyz`` [..., 3]."""
        local = xyz - self.origin
        image = local @ self.matrix.T + self.offset
        return image[..., 0], image[..., 1], local @ self.direction


class TorchRPC(nn.Module):
    """Twin of ``RPC``, with the map projection inside where the camera has a CRS.

    Points must lie in the RPC's domain (a tenth wider than its scales): outside it the projection's polynomial
    does not hold, and col and row are NaN.
    """

    cubics: Tensor
    scales: Tensor
    offsets: Tensor

    def __init__(self, camera: RPC) -> None:
        super().__init__()
        self.register_buffer("cubics", torch.stack([_tensor(getattr(camera, name)) for name in POLYNOMIALS]))
        order = ("long", "lat", "height", "samp", "line")
        for kind in ("off", "scale"):
            values = torch.tensor([getattr(camera, f"{name}_{kind}") for name in order], dtype=torch.float64)
            self.register_buffer("offsets" if kind == "off" else "scales", values)
        self._lonlat = None if camera.crs is None else _TorchMap(camera)

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
    """Twin of ``CrsMap`` inside its box."""

    coefficients: Tensor
    centre: Tensor
    half_size: Tensor

    def __init__(self, camera: RPC) -> None:
        super().__init__()
        numpy_map = camera.lonlat_map()
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


def twin(camera: Camera) -> TorchPinhole | TorchAffine | TorchRPC:
    """Return the differentiable twin of a camera.

    Raises
    ------
    InputError
        A kind of camera that has none.
    """
    if isinstance(camera, Pinhole):
        return TorchPinhole(camera)
    if isinstance(camera, AffineCamera):
        return TorchAffine(camera)
    if isinstance(camera, RPC):
        return TorchRPC(camera)
    raise InputError(f"There is no differentiable twin of a {type(camera).__name__}.")
