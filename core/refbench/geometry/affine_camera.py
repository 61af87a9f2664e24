"""The affine camera: parallel rays, the first-order expansion of another camera over a small area."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.errors import InputError
from refbench.geometry.camera_model import CameraModel, resized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera, Projected
    from refbench.geometry.torch_cameras import TorchAffine


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AffineCamera(CameraModel):
    """``(col, row) = matrix (X - origin) + offset``; integer coordinates are pixel centres.

    ``matrix`` float64 [2, 3] in pixels per scene unit, ``offset`` float64 [2] in pixels, ``origin`` float64 [3] in
    scene coordinates. ``frame`` says what the scene coordinates are, such as ``EPSG:32632`` or ``lon/lat/h``.
    ``down`` tells the sign of the viewing direction: +1 where depth grows with falling third coordinate (a camera
    that looks down), -1 otherwise. Depth is the distance in scene units along the viewing direction from the plane
    through ``origin`` across it. ``max_error_px`` is the largest distance from the expanded camera over its area.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    origin: NDArray[np.float64]
    frame: str = "scene"
    down: int = 1
    max_error_px: float | None = None

    def __post_init__(self) -> None:
        """Check shapes and rank; freeze the arrays."""
        for name, axes in (("matrix", "2 3"), ("offset", "2"), ("origin", "3")):
            array = np.asarray(getattr(self, name), np.float64)
            check_shape(f"Affine camera {name}", array, axes)
            if not np.isfinite(array).all():
                raise InputError(f"Affine camera {name} must be finite, got {array.tolist()}.")
            object.__setattr__(self, name, frozen(array))
        if not np.linalg.norm(np.cross(self.matrix[0], self.matrix[1])) > 0:
            raise InputError("The two rows of an affine camera's matrix must not be parallel.")

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vector of all rays, away from the sensor, float64 [3], scene coordinates."""
        ray = np.cross(self.matrix[0], self.matrix[1])
        sign = -self.down if ray[2] > 0 else self.down
        return np.asarray(sign * ray / np.linalg.norm(ray))

    @property
    def crs(self) -> CRS | None:
        """The CRS that ``frame`` names by an EPSG code; None for other frames."""
        try:
            return CRS.from_string(self.frame) if self.frame.upper().startswith("EPSG:") else None
        except CRSError:
            return None

    def scaled(self, across: float, down: float) -> AffineCamera:
        """Return the camera of the image resized by ``across`` (columns) and ``down`` (rows)."""
        factors = np.array([across, down])
        offset = np.array([resized(place, factor) for place, factor in zip(self.offset, factors, strict=True)])
        error = None if self.max_error_px is None else self.max_error_px * max(across, down)
        return replace(self, matrix=factors[:, None] * self.matrix, offset=offset, max_error_px=error)

    def to_torch(self) -> TorchAffine:
        """Return the camera for tensors."""
        from refbench.geometry.torch_cameras import TorchAffine

        return TorchAffine(self.matrix, self.offset, self.origin, self.direction)

    def project(self, xyz: NDArray[np.float64]) -> Projected:
        """Return (col, row, depth), each float64 [...], of ``xyz`` [..., 3]."""
        local = np.asarray(xyz, np.float64) - self.origin
        image = local @ self.matrix.T + self.offset
        return image[..., 0], image[..., 1], local @ self.direction

    def unproject(
        self, col: NDArray[np.float64], row: NDArray[np.float64], depth: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return scene points float64 [..., 3] of image coordinates and depths [...]."""
        col, row, depth = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, depth)))
        known = np.stack([col - self.offset[0], row - self.offset[1], depth], axis=-1)
        inverse = np.linalg.inv(np.vstack([self.matrix, self.direction]))
        return np.asarray(known @ inverse.T + self.origin)

    def jacobian(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d(col, row) / d(xyz), float64 [..., 2, 3]: the matrix, everywhere."""
        return np.broadcast_to(self.matrix, (*np.shape(xyz)[:-1], 2, 3))

    @classmethod
    def from_camera(
        cls,
        camera: Camera,
        origin: Sequence[float] | NDArray[np.float64],
        extent: Sequence[float] | None = None,
        *,
        frame: str = "scene",
        step: float = 1.0,
    ) -> AffineCamera:
        """Return the first-order expansion of ``camera`` about ``origin``.

        Parameters
        ----------
        camera
            Any camera; its ``jacobian`` at ``origin`` becomes the matrix.
        origin
            The point of expansion, scene coordinates [3].
        extent
            Half sizes [3] of the box around ``origin`` over which ``max_error_px`` is measured (9 x 9 x 9 points);
            without it the error stays None.
        frame
            What the scene coordinates are.
        step
            Down from ``origin`` to the point that tells the sign of the viewing direction, scene units.

        Raises
        ------
        InputError
            The camera does not see ``origin``.
        """
        centre = np.asarray(origin, np.float64)
        col, row, _ = camera.project(centre)
        if not np.isfinite((col, row)).all():
            raise InputError(f"The camera does not see the point {centre.tolist()} about which it is to be expanded.")
        matrix = np.asarray(camera.jacobian(centre), np.float64)
        lower = centre - np.array([0, 0, step])
        down = 1 if camera.project(lower)[2] > camera.project(centre)[2] else -1
        affine = cls(matrix, np.array([col, row]), centre, frame, down)
        if extent is None:
            return affine
        error = affine.max_error(camera, extent)
        return cls(matrix, np.array([col, row]), centre, frame, down, error)

    def max_error(self, camera: Camera, extent: Sequence[float]) -> float:
        """Return the largest distance in pixels from ``camera`` over the box of half sizes ``extent`` [3]."""
        side = np.linspace(-1, 1, 9)
        box = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3) * np.asarray(extent, np.float64)
        mine, other = self.project(self.origin + box), camera.project(self.origin + box)
        return float(np.hypot(mine[0] - other[0], mine[1] - other[1]).max())

    def __repr__(self) -> str:
        """Return frame, origin and error."""
        error = "error not measured" if self.max_error_px is None else f"error <= {self.max_error_px:.3g} px"
        return f"AffineCamera(about {self.origin.round(5).tolist()} in {self.frame}, {error})"
