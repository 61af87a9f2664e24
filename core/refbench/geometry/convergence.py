"""Under which angle two cameras see a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera


def viewing_direction(camera: Camera, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vector [3] along which a camera sees the point ``xyz`` [3], downwards, scene axes."""
    # What both rows of the Jacobian are blind to is a move along the line of sight.
    jacobian = camera.jacobian(xyz[None])[0]
    ray = np.cross(jacobian[0], jacobian[1])
    ray *= -1.0 if ray[2] > 0 else 1.0
    return np.asarray(ray / np.linalg.norm(ray))


def convergence_angle(first: Camera, second: Camera, xyz: NDArray[np.float64]) -> float:
    """Return the angle in degrees between the lines of sight of two cameras at the point ``xyz`` [3]."""
    cosine = float(viewing_direction(first, xyz) @ viewing_direction(second, xyz))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
