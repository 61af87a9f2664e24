"""What camera models share: answers that hold for most of them, by ``project`` and ``unproject`` alone.

A new model derives from ``CameraModel``, brings ``project``, ``unproject`` and ``scaled``, and replaces what it knows
better; see ``refbench.formats.camera_files`` for its file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from typing_extensions import Self

    from refbench.contracts.camera import PinholeMatrices, Projected, TorchCamera

    Floats = NDArray[np.float64]

STEP = 1.0
"""Of central differences, scene units."""
RAY_STEP = 10.0
"""Between the two depths that tell a straight ray, scene units."""


class CameraModel(ABC):
    """A ``refbench.contracts.camera.Camera`` with straight rays, without perspective unless it says otherwise."""

    __slots__ = ()

    @abstractmethod
    def project(self, xyz: Floats) -> Projected:
        """Return (col, row, depth), each float64 [...], of scene points [..., 3]."""

    @abstractmethod
    def unproject(self, col: Floats, row: Floats, depth: Floats) -> Floats:
        """Return scene points float64 [..., 3] of image coordinates and depths [...]."""

    @abstractmethod
    def scaled(self, across: float, down: float) -> Self:
        """Return the camera of the image resized by these factors."""

    @property
    def is_perspective(self) -> bool:
        """False: depth is linear over the image of a plane."""
        return False

    @property
    def pinhole(self) -> PinholeMatrices | None:
        """None: no pinhole."""
        return None

    @property
    def size(self) -> tuple[int, int] | None:
        """None: not known."""
        return None

    @property
    def height_range(self) -> tuple[float, float] | None:
        """None: not known."""
        return None

    @property
    def crs(self) -> CRS | None:
        """None: not known."""
        return None

    @property
    def lonlat(self) -> tuple[float, float] | None:
        """None: not known."""
        return None

    def unproject_to_height(self, col: Floats, row: Floats, height: Floats) -> Floats:
        """Return where straight rays reach heights [...], float64 [..., 3]; NaN for rays along the horizon."""
        col, row, height = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, height)))
        # Two depths give each ray: X(s) = near + s (far - near), cut where its third coordinate is the height.
        near, far = (self.unproject(col, row, np.full(col.shape, depth)) for depth in (RAY_STEP, 2 * RAY_STEP))
        rise = far[..., 2] - near[..., 2]
        fraction = (height - near[..., 2]) / np.where(rise != 0, rise, np.nan)
        return np.asarray(near + fraction[..., None] * (far - near))

    def jacobian(self, xyz: Floats) -> Floats:
        """Return d(col, row) / d(xyz), float64 [..., 2, 3], by central differences of 1 scene unit to both sides."""
        xyz = np.asarray(xyz, np.float64)
        columns = []
        for offset in STEP * np.eye(3):
            ahead, behind = self.project(xyz + offset), self.project(xyz - offset)
            columns.append(np.stack([(ahead[i] - behind[i]) / (2 * STEP) for i in (0, 1)], axis=-1))
        return np.stack(columns, axis=-1)

    def to_torch(self) -> TorchCamera:
        """Raise ``UnsupportedError``: the model has no differentiable form."""
        raise UnsupportedError(
            f"A camera of type {type(self).__name__} has no differentiable form; use a pinhole, RPC or affine camera."
        )


def resized(place: float, factor: float) -> float:
    """Return an image coordinate after resizing by ``factor``: corners stay corners, centres stay at integers."""
    return (place + 0.5) * factor - 0.5
