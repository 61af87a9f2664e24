"""A camera whose image lies a constant number of pixels beside where the camera says: a compensated RPC bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.geometry.camera_model import CameraModel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    from refbench.contracts.camera import Camera, Projected

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BiasedCamera(CameraModel):
    """``camera`` with ``bias`` (right, down; pixels) added to what it projects.

    For cameras without perspective; a pointing error of a satellite is such a shift to a small part of a pixel.
    """

    camera: Camera
    bias: tuple[float, float]

    def project(self, xyz: Floats) -> Projected:
        """Return (col, row, depth), each float64 [...], of scene points [..., 3]."""
        col, row, depth = self.camera.project(xyz)
        return col + self.bias[0], row + self.bias[1], depth

    def unproject(self, col: Floats, row: Floats, depth: Floats) -> Floats:
        """Return scene points float64 [..., 3] of image coordinates and depths [...]."""
        return self.camera.unproject(np.asarray(col) - self.bias[0], np.asarray(row) - self.bias[1], depth)

    def scaled(self, across: float, down: float) -> Self:
        """Return the camera of the image resized by these factors."""
        return type(self)(self.camera.scaled(across, down), (self.bias[0] * across, self.bias[1] * down))
