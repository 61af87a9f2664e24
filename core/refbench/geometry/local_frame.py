"""A topocentric frame (metres east, north, up of a place) in a map projection: as an affine map, for whole cameras.

Over the kilometre of a drone flight the map is affine to far below a pixel: the projection turns it by the convergence
of the meridians, stretches it by its scale, and leaves heights alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform as proj_transform
from scipy.linalg import rq

from refbench.geometry.cameras import Pinhole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GEOCENTRIC, GEOGRAPHIC = CRS.from_epsg(4978), CRS.from_epsg(4979)


@dataclass(frozen=True, slots=True, eq=False)
class LocalFrame:
    """``X_map = matrix X_local + origin``; ``matrix`` float64 [3, 3], ``origin`` float64 [3] in metres of the map."""

    matrix: Floats
    origin: Floats

    @classmethod
    def at(cls, latitude: float, longitude: float, altitude: float, target: CRS, reach: float = 100.0) -> LocalFrame:
        """Return the frame of a place on WGS 84 (degrees, metres above the ellipsoid) in a projected CRS.

        The map is taken from differences over ``reach`` metres to both sides.
        """
        steps = np.concatenate([np.zeros((1, 3)), reach * np.eye(3), -reach * np.eye(3)])
        placed = to_map(steps, latitude, longitude, altitude, target)
        return cls((placed[1:4] - placed[4:7]).T / (2 * reach), placed[0])

    def points(self, local: Floats) -> Floats:
        """Return points [N, 3] of the frame in the map."""
        return np.asarray(local @ self.matrix.T + self.origin)

    def camera(self, camera: Pinhole) -> Pinhole:
        """Return a pinhole of the frame as one of the map, that sees the same at the same pixels.

        ``K R (M^-1 (X - o)) + K t`` is a pinhole again: an RQ decomposition of ``K R M^-1`` parts its intrinsics, with
        a skew of some 1e-4, from its rotation.
        """
        upper, R = rq(camera.K @ camera.R @ np.linalg.inv(self.matrix))
        # The decomposition is unique up to the signs of the diagonal: all are positive in a camera.
        signs = np.diag(np.sign(np.diag(upper)))
        upper, R = upper @ signs, signs @ R
        centre = self.points(camera.centre[None])[0]
        K = upper / upper[2, 2]
        K[2] = 0.0, 0.0, 1.0
        return Pinhole(K, R, -R @ centre, camera.width, camera.height)


def to_map(local: Floats, latitude: float, longitude: float, altitude: float, target: CRS) -> Floats:
    """Return points [N, 3] (metres east, north, up of a place) in a projected CRS, heights above the ellipsoid."""
    centre = np.stack(proj_transform(GEOGRAPHIC, GEOCENTRIC, [longitude], [latitude], [altitude]), axis=1)[0]
    lat, lon = np.radians(latitude), np.radians(longitude)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    up = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    axes = np.stack([east, np.cross(up, east), up])
    geocentric = centre + local @ axes
    lon_lat_height = np.stack(proj_transform(GEOCENTRIC, GEOGRAPHIC, *geocentric.T), axis=1)
    x, y = proj_transform(CRS.from_epsg(4326), target, *lon_lat_height[:, :2].T)[:2]
    return np.stack([np.asarray(x), np.asarray(y), lon_lat_height[:, 2]], axis=1)
