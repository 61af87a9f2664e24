"""Rays into the mesh (Embree through open3d) and the light that comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.city.texture import Hits
from refbench.formats.cloud_formats import import_open3d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.city.mesh import Mesh
    from refbench.city.texture import Texture

SKY = np.array([0.18, 0.21, 0.27, 0.12], np.float32)
"""Light of the open sky against the sun's 1, by band."""
SUN = np.array([1.0, 0.97, 0.9, 1.0], np.float32)
BLOCK = 1 << 19
"""Rays traced at once: bounds memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """First hits of n rays: ``distance`` float64 [n] in lengths of the direction (inf for none), ``triangle``."""

    distance: NDArray[np.float64]
    triangle: NDArray[np.int64]
    normal: NDArray[np.float32]

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Whether a ray met anything, bool [n]."""
        return np.isfinite(self.distance)


class Tracer:
    """Casts rays into one mesh. Raises ``MissingExtraError`` where open3d is not installed."""

    def __init__(self, mesh: Mesh) -> None:
        """Build the ray-casting scene."""
        open3d = import_open3d("the procedural city")
        self._o3c = open3d.core
        self._scene = open3d.t.geometry.RaycastingScene()
        tensor = self._o3c.Tensor
        self._scene.add_triangles(tensor(mesh.vertices.astype(np.float32)), tensor(mesh.triangles.astype(np.uint32)))

    def _rays(self, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> Any:  # noqa: ANN401  # tensor
        rays = np.empty((len(origin), 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, direction
        return self._o3c.Tensor(rays)

    def cast(self, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> Traced:
        """Return the first hits of rays from ``origin`` [n, 3] along ``direction`` [n, 3], local metres."""
        answer = self._scene.cast_rays(self._rays(origin, direction))
        return Traced(
            answer["t_hit"].numpy().astype(np.float64),
            answer["primitive_ids"].numpy().astype(np.int64),
            answer["primitive_normals"].numpy(),
        )

    def shadowed(self, point: NDArray[np.float64], towards: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether anything stands between ``point`` [n, 3] and the light far along ``towards`` [3].

        Metres in the city's frame; bool [n].
        """
        rays = self._rays(point, np.broadcast_to(towards, point.shape))
        return np.asarray(self._scene.test_occlusions(rays).numpy(), bool)


@dataclass(frozen=True, slots=True)
class Sun:
    """Direction to the sun: azimuth clockwise from north and elevation, degrees."""

    azimuth: float
    elevation: float

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vector to the sun (east, north, up). Float64 [3], no unit."""
        azimuth, elevation = np.radians(self.azimuth), np.radians(self.elevation)
        level = np.cos(elevation)
        return np.array([level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation)])


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """``radiance`` float32 [n, 4] (a white level plane in full overhead sun gives about 1), ``distance`` [n]."""

    radiance: NDArray[np.float32]
    distance: NDArray[np.float64]


class Renderer:
    """Renders one city in its light."""

    def __init__(self, mesh: Mesh, texture: Texture, sun: Sun) -> None:
        """Take the mesh, its materials and the sun."""
        self.tracer = Tracer(mesh)
        self._surface, self._texture, self._sun = mesh.surface, texture, sun

    def render(self, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> Rendered:
        """Return what rays from ``origin`` [n, 3] along ``direction`` [n, 3] see; black where they see nothing.

        Origins are metres in the city's frame, directions of any length.
        """
        radiance = np.zeros((len(origin), 4), np.float32)
        distance = np.full(len(origin), np.inf)
        for start in range(0, len(origin), BLOCK):
            part = slice(start, start + BLOCK)
            traced = self.tracer.cast(origin[part], direction[part])
            distance[part] = traced.distance
            hit = np.nonzero(traced.hit)[0]
            radiance[start + hit] = self._shade(origin[part][hit], direction[part][hit], traced, hit)
        return Rendered(radiance, distance)

    def _shade(
        self,
        origin: NDArray[np.float64],
        direction: NDArray[np.float64],
        traced: Traced,
        hit: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        normal = traced.normal[hit]
        away = np.einsum("ij,ij->i", normal, direction) > 0
        normal = np.where(away[:, None], -normal, normal)
        xyz = origin + traced.distance[hit, None] * direction
        hits = Hits(xyz, normal, self._surface[traced.triangle[hit]])
        shading = self._texture.bump(hits)
        to_sun = self._sun.direction
        facing = np.maximum(shading @ to_sun.astype(np.float32), 0.0)
        lit = facing > 0
        lit[lit] = ~self.tracer.shadowed(xyz[lit] + 0.02 * normal[lit], to_sun)
        light = (facing * lit)[:, None] * SUN + (0.5 + 0.5 * shading[:, 2])[:, None] * SKY
        return np.asarray(self._texture.reflectance(hits) * light, np.float32)
