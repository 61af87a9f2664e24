"""The pinhole camera. OpenCV axes: x right, y down, z forward; an integer image coordinate is a pixel centre."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.camera import PinholeMatrices
from refbench.contracts.errors import InputError
from refbench.geometry.camera_model import CameraModel, resized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera, Projected
    from refbench.geometry.torch_cameras import TorchPinhole

ROTATION_TOLERANCE = 1e-6
"""How far ``R R^T`` may be from the identity: cameras in text files hold six digits or more."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pinhole(CameraModel):
    """``X_camera = R X_scene + t``, ``(col, row, 1) ~ K X_camera``; depth is ``X_camera[2]``, in scene units.

    ``K`` float64 [3, 3] in pixels, last row 0 0 1; ``R`` float64 [3, 3] world to camera; ``t`` float64 [3];
    ``width`` and ``height`` of the image in pixels, where known.
    """

    K: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        """Check shapes, finiteness and that ``R`` is a rotation; freeze the arrays."""
        for name, axes in (("K", "3 3"), ("R", "3 3"), ("t", "3")):
            array = np.asarray(getattr(self, name), np.float64)
            check_shape(f"Pinhole {name}", array, axes)
            if not np.isfinite(array).all():
                raise InputError(f"Pinhole {name} must be finite, got {array.tolist()}.")
            object.__setattr__(self, name, frozen(array))
        if not np.array_equal(self.K[2], (0, 0, 1)) or self.K[1, 0] != 0 or self.K[0, 0] * self.K[1, 1] == 0:
            raise InputError(f"Pinhole K must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]], got {self.K.tolist()}.")
        distance = float(np.abs(self.R @ self.R.T - np.eye(3)).max())
        if distance > ROTATION_TOLERANCE or np.linalg.det(self.R) < 0:
            raise InputError(f"Pinhole R must be a rotation; R R^T is {distance:.2g} from the identity.")

    @property
    def centre(self) -> NDArray[np.float64]:
        """The centre of projection in scene coordinates, float64 [3]."""
        return np.asarray(-self.R.T @ self.t)

    @property
    def is_perspective(self) -> bool:
        """True: along a straight line in the image 1/depth is linear, not depth."""
        return True

    @property
    def pinhole(self) -> PinholeMatrices:
        """``K``, ``R`` and ``t``."""
        return PinholeMatrices(self.K, self.R, self.t)

    @property
    def size(self) -> tuple[int, int] | None:
        """(rows, cols) of the image, where both are known."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def project(self, xyz: NDArray[np.float64]) -> Projected:
        """Return (col, row, depth), each float64 [...], of ``xyz`` [..., 3].

        Points at or behind the camera keep their depth (<= 0); their col and row are NaN.
        """
        local = np.asarray(xyz, np.float64) @ self.R.T + self.t
        depth = local[..., 2]
        safe = np.where(depth > 0, depth, np.nan)
        x, y = local[..., 0] / safe, local[..., 1] / safe
        return self.K[0, 0] * x + self.K[0, 1] * y + self.K[0, 2], self.K[1, 1] * y + self.K[1, 2], depth

    def unproject(
        self, col: NDArray[np.float64], row: NDArray[np.float64], depth: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return scene points float64 [..., 3] of image coordinates and depths (z, scene units) [...]."""
        col, row, depth = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, depth)))
        x, y = self._normalised(col, row)
        return np.asarray((np.stack([x * depth, y * depth, depth], axis=-1) - self.t) @ self.R)

    def _normalised(
        self, col: NDArray[np.float64], row: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x / z and y / z in the camera's frame of image coordinates [...]."""
        y = (row - self.K[1, 2]) / self.K[1, 1]
        return (col - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0], y

    def jacobian(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d(col, row) / d(xyz), float64 [..., 2, 3], in pixels per scene unit."""
        local = np.asarray(xyz, np.float64) @ self.R.T + self.t
        x, y, z = local[..., 0], local[..., 1], local[..., 2]
        zero = np.zeros_like(z)
        rows = [
            np.stack([1 / z, zero, -x / z**2], axis=-1),
            np.stack([zero, 1 / z, -y / z**2], axis=-1),
        ]
        return np.asarray(self.K[:2, :2] @ np.stack(rows, axis=-2) @ self.R)

    def unproject_to_height(
        self, col: NDArray[np.float64], row: NDArray[np.float64], height: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where rays reach heights [...], float64 [..., 3]; NaN where they do so behind the camera or never."""
        col, row, height = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, height)))
        centre = self.centre
        # The point of a ray at depth d is centre + d * ray: its third coordinate is linear in the depth.
        ray = np.stack([*self._normalised(col, row), np.ones(col.shape)], axis=-1) @ self.R
        depth = (height - centre[2]) / np.where(ray[..., 2] != 0, ray[..., 2], np.nan)
        return np.asarray(centre + np.where(depth > 0, depth, np.nan)[..., None] * ray)

    def scaled(self, across: float, down: float) -> Pinhole:
        """Return the camera of the image resized by ``across`` (columns) and ``down`` (rows)."""
        width = None if self.width is None else round(self.width * across)
        height = None if self.height is None else round(self.height * down)
        return replace(self, K=scaled_intrinsics(self.K, across, down), width=width, height=height)

    def to_torch(self) -> TorchPinhole:
        """Return the camera for tensors; its buffers may be replaced by tensors with gradients."""
        from refbench.geometry.torch_cameras import TorchPinhole

        return TorchPinhole(self.K, self.R, self.t)

    def to_dict(self) -> dict[str, Any]:
        """Return the camera as plain lists and numbers, for YAML and JSON."""
        return {
            "K": self.K.tolist(),
            "R": self.R.tolist(),
            "t": self.t.tolist(),
            "width": self.width,
            "height": self.height,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Pinhole:
        """Return the camera that ``to_dict`` wrote.

        Raises
        ------
        InputError
            A missing field, or one of a wrong shape.
        """
        missing = [name for name in ("K", "R", "t") if name not in fields]
        if missing:
            raise InputError(f"A pinhole camera needs the fields K, R and t; {', '.join(missing)} is missing.")
        try:
            K, R, t = (np.asarray(fields[name], np.float64) for name in ("K", "R", "t"))
        except (TypeError, ValueError) as error:
            raise InputError(f"The fields K, R and t of a pinhole camera must be numbers: {error}.") from error
        return cls(K, R, t, fields.get("width"), fields.get("height"))

    def __repr__(self) -> str:
        """Return focal length, image size and centre."""
        return (
            f"Pinhole(f {self.K[0, 0]:g} px, {self.width} x {self.height} px, centre {self.centre.round(2).tolist()})"
        )


def rotation_of(qvec: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation, float64 [3, 3], of a quaternion (w, x, y, z) of any length.

    Raises
    ------
    InputError
        A zero or infinite quaternion, or another number of values.
    """
    q = np.asarray(qvec, np.float64)
    length = float(np.linalg.norm(q))
    if q.shape != (4,) or not np.isfinite(length) or length == 0:
        raise InputError(f"A rotation needs a quaternion (w, x, y, z) other than zero, got {list(qvec)}.")
    # scipy puts the real part last.
    return np.asarray(Rotation.from_quat(np.roll(q, -1)).as_matrix())


def scaled_intrinsics(K: NDArray[np.float64], across: float, down: float) -> NDArray[np.float64]:
    """Return intrinsics [3, 3] (pixels) for the image resized by ``across`` (columns) and ``down`` (rows)."""
    found = np.array(K, np.float64)
    for axis, factor in enumerate((across, down)):
        found[axis, :2] *= factor
        found[axis, 2] = resized(K[axis, 2], factor)
    return found


def pinhole_of(camera: Camera, size: tuple[int, int] | None = None) -> Pinhole | None:
    """Return a camera as a pinhole; None where its model is another one.

    ``size`` (rows, cols) in pixels is that of its image where the camera does not know it.
    """
    if camera.pinhole is None:
        return None
    rows, cols = camera.size or size or (None, None)
    return Pinhole(*camera.pinhole, cols, rows)
