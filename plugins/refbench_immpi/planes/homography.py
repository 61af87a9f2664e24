"""Where the planes of a multiplane image lie in a target view: homographies, depths along rays, distances.

A plane of depth d in the reference camera is seen at the pixel K_ref (R^T (s r - t)) / d of the multiplane image, r
the target ray of a pixel and s = (d + (R^T t)_z) / (R^T r)_z its depth there. For all planes of a view this is one
map per pixel, times a number, plus a number; so is the depth, and the distance between two planes along a ray.
Samples beyond the rim of the multiplane image take its rim instead: there the points are evaluated one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Values: TypeAlias = torch.Tensor | NDArray[Any]

LAST_DISTANCE = 1000.0
"""Distance given to the farthest plane, which has no next one; scene units."""
SAME_POSE = 1e-6
SINGULAR = 1e-6
"""Fraction of a plane's depth within which the target camera's centre counts as lying in it."""
HORIZON = 1e-12
_RIM = np.array([(across, down, 1.0) for across in (-1, 1) for down in (-1, 1)])
"""Sampling positions of the four corners of a multiplane image."""


def pyramid_intrinsics(K: torch.Tensor, scale: int, *, half_pixel: bool = False) -> torch.Tensor:
    """Return intrinsics [..., 3, 3] of an image halved ``scale`` times.

    As published the principal point is halved as it is; ``half_pixel`` regards that pixel centres lie at integers.
    """
    found: torch.Tensor = K / 2**scale
    if half_pixel:
        found[..., :2, 2] = (K[..., :2, 2] + 0.5) / 2**scale - 0.5
    found[..., 2, 2] = 1
    return found


def check_planes(planes: Values, T_tgt_ref: Values, view: str) -> None:
    """Check that no plane goes through the centre of the target camera, where it would be seen edge-on everywhere.

    Parameters
    ----------
    planes
        [D], depth in the reference camera.
    T_tgt_ref
        [4, 4], reference camera to target camera.
    view
        Name of the target view, for the sentence.

    Raises
    ------
    InputError
        A plane does.
    """
    depths, pose = _float64(planes), _float64(T_tgt_ref)
    centre = -float(pose[:3, 2] @ pose[:3, 3])
    hit = np.flatnonzero(np.abs(depths - centre) <= SINGULAR * np.abs(depths))
    if hit.size:
        raise InputError(
            f"Plane {hit[0]} of {len(depths)} (depth {depths[hit[0]]:.6g} in the reference view) goes through the "
            f"camera centre of view {view}: choose a depth range that leaves the target camera out."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One plane as the target view sees it.

    ``grid`` [1, h, w, 2]: where to sample, for ``grid_sample`` with aligned corners and border padding (None: the
    target view is the reference). ``z`` [h, w]: depth in the target camera. ``distance`` [h, w] to the next plane, or
    a number. ``valid`` [h, w]: less than a pixel outside the multiplane image (None: everywhere). ``behind`` [h, w]:
    behind the target camera (None: nowhere).
    """

    grid: torch.Tensor | None
    z: torch.Tensor
    distance: torch.Tensor | float
    valid: torch.Tensor | None
    behind: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A layer before its distance is known. ``points``: x, y, z in the target camera if samples lie beyond the rim."""

    depth: float
    grid: torch.Tensor | None
    z: torch.Tensor
    points: list[torch.Tensor] | None


class TargetView:
    """The geometry of one pair of views; its layers are made on demand, near to far, and none is kept.

    Parameters
    ----------
    planes
        [D], depth in the reference camera.
    T_tgt_ref
        [4, 4], reference camera to target camera.
    K_ref, K_tgt
        [3, 3], of the multiplane image and of the target view, pixel centres at integers.
    size
        Rows and columns of the multiplane image, two at least.
    shape
        Rows and columns of the target view.
    like
        Tensor whose dtype and device the layers take.
    """

    def __init__(
        self,
        planes: Values,
        T_tgt_ref: Values,
        K_ref: Values,
        K_tgt: Values,
        size: tuple[int, int],
        shape: tuple[int, int],
        like: torch.Tensor,
    ) -> None:
        self.depths = [float(depth) for depth in _float64(planes)]
        pose, reference, target = map(_float64, (T_tgt_ref, K_ref, K_tgt))
        turn, shift = pose[:3, :3], pose[:3, 3]
        self.dtype = like.dtype
        near = min(map(abs, self.depths))
        self.same = bool(
            size == shape
            and np.array_equal(reference, target)
            and np.allclose(turn, np.eye(3), rtol=0, atol=SAME_POSE)
            and np.abs(shift).max() <= SAME_POSE * near
        )
        rows, cols = size
        # Sampling coordinates: -1 and 1 are the centres of the first and the last pixel.
        to_grid = np.array([[2 / (cols - 1), 0, -1], [0, 2 / (rows - 1), -1], [0, 0, 1.0]])
        self._limits = (cols + 1) / (cols - 1), (rows + 1) / (rows - 1)
        shift_in_reference = turn.T @ shift
        self._forward = float(shift_in_reference[2])
        self._offset = (to_grid @ reference @ shift_in_reference)[:2]
        self._directions = turn @ np.linalg.inv(to_grid @ reference)
        self._shift = shift
        self._maps(target, turn, to_grid @ reference, shape, like)

    def _maps(
        self, target: Floats, turn: Floats, to_sample: Floats, shape: tuple[int, int], like: torch.Tensor
    ) -> None:
        """Make the maps that all planes share, and the sampling positions of the corners."""
        rays = np.linalg.inv(target)
        seen, sampled = turn.T @ rays, to_sample @ turn.T @ rays
        v = torch.arange(shape[0], dtype=torch.float64, device=like.device)[:, None]
        u = torch.arange(shape[1], dtype=torch.float64, device=like.device)[None]

        def across(row: Floats) -> torch.Tensor:
            return (float(row[0]) * u + float(row[2])) + float(row[1]) * v

        towards = across(seen[2])
        towards = torch.where(towards.abs() < HORIZON, torch.full_like(towards, HORIZON), towards)
        inverse = 1 / towards
        length = sum((across(row) ** 2 for row in rays[1:]), across(rays[0]) ** 2).sqrt()
        self._z = (across(rays[2]) * inverse).to(like.dtype)
        self._length = (length * inverse.abs()).to(like.dtype)
        positions = torch.complex(across(sampled[0]) * inverse, across(sampled[1]) * inverse)
        corners = positions[:: max(1, shape[0] - 1), :: max(1, shape[1] - 1)]
        signs = towards[:: max(1, shape[0] - 1), :: max(1, shape[1] - 1)].sign()
        # Without a horizon in the image, straight lines stay straight and the corners say where all pixels lie.
        crossed = bool((signs != signs[0, 0]).any())
        self._corners = np.full((1, 2), np.inf) if crossed else _float64(torch.view_as_real(corners)).reshape(-1, 2)
        self._base = positions.to(torch.complex128 if like.dtype == torch.float64 else torch.complex64)

    def layers(self) -> Iterator[Layer]:
        """Yield the planes near to far."""
        here = self._placed(self.depths[0])
        for depth in self.depths[1:]:
            after = self._placed(depth)
            yield self._layer(here, self._distance(here, after))
            here = after
        yield self._layer(here, LAST_DISTANCE)

    def _placed(self, depth: float) -> _Placed:
        z = self._z * (depth + self._forward)
        if self.same:
            return _Placed(depth, None, z, None)
        factor, offset = (depth + self._forward) / depth, -self._offset / depth
        # Both coordinates of a position are one complex number: a single pass over memory for both.
        place = torch.tensor(complex(*offset), dtype=self._base.dtype, device=self._base.device)
        grid = torch.view_as_real(torch.add(place, self._base, alpha=factor))[None]
        if (np.abs(factor * self._corners + offset) <= 1).all():
            return _Placed(depth, grid, z, None)
        points = self._points(depth, grid)
        return _Placed(depth, grid, points[2], points)

    def _points(self, depth: float, grid: torch.Tensor) -> list[torch.Tensor]:
        """Return x, y, z [h, w] in the target camera of what is sampled: the rim for positions beyond it."""
        across, down = grid[0].clamp(-1, 1).unbind(-1)
        return [
            (across * float(row[0])).add_(down, alpha=float(row[1])).add_(float(row[2])) for row in self._plane(depth)
        ]

    def _plane(self, depth: float) -> Floats:
        """Return [3, 3]: sampling position (across, down, 1) on a plane to a point in the target camera."""
        return np.asarray(depth * self._directions + np.outer(self._shift, (0, 0, 1)))

    def _distance(self, here: _Placed, after: _Placed) -> torch.Tensor:
        if here.grid is None or after.grid is None or (here.points is None and after.points is None):
            return self._length * abs(after.depth - here.depth)
        first = here.points or self._points(here.depth, here.grid)
        second = after.points or self._points(after.depth, after.grid)
        x, y, z = (b - a for a, b in zip(first, second, strict=True))
        return x.mul_(x).addcmul_(y, y).addcmul_(z, z).sqrt_()

    def _layer(self, placed: _Placed, distance: torch.Tensor | float) -> Layer:
        valid = None
        if placed.points is not None and placed.grid is not None:
            across, down = placed.grid[0].unbind(-1)
            valid = (across.abs() < self._limits[0]) & (down.abs() < self._limits[1])
        nearest = (self._plane(placed.depth)[2] * _RIM).sum(1).min()
        return Layer(placed.grid, placed.z, distance, valid, None if nearest > 0 else placed.z < 0)


def _float64(values: Values) -> Floats:
    """Return a tensor or an array on the CPU in float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, np.float64)


def target_views(
    planes: torch.Tensor,
    T_tgt_ref: torch.Tensor,
    K_ref: torch.Tensor,
    K_tgt: torch.Tensor,
    size: tuple[int, int],
    shape: tuple[int, int],
    like: torch.Tensor,
) -> Sequence[TargetView]:
    """Return the geometry of every item of a batch; arguments as of ``TargetView`` with a leading axis.

    Poses are [B, 4, 4] in metres, intrinsics [B, 3, 3] in pixels, sizes (rows, cols).
    """
    items = zip(planes, T_tgt_ref, K_ref, K_tgt, strict=True)
    return [TargetView(*item, size, shape, like) for item in items]
