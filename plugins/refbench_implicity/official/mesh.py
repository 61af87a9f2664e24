"""Triangle meshes in float64 world coordinates: reading, clipping at a rectangle, sampling.

Letters: V vertices, F faces, N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Mesh:
    """``triangles`` float64 [F, 3, 3]: face, corner, (x, y, z) in world metres."""

    triangles: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.triangles)

    @property
    def z_range(self) -> tuple[float, float]:
        """Lowest and highest corner; (inf, -inf) without faces."""
        z = self.triangles[..., 2]
        return (float(z.min()), float(z.max())) if z.size else (np.inf, -np.inf)

    def clipped(self, low: Sequence[float], high: Sequence[float]) -> Mesh:
        """Return the part inside the rectangle ``low`` to ``high`` (x, y); faces across the edge are cut there."""
        triangles = self.triangles
        for axis in (0, 1):
            triangles = _clip_below(triangles, axis, float(high[axis]))
            triangles = _clip_below(triangles * _mirror(axis), axis, -float(low[axis])) * _mirror(axis)
        return Mesh(triangles)

    def sampled(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return ``count`` points [count, 3], uniform in area; none of a mesh without area."""
        first, second, third = np.moveaxis(self.triangles, 1, 0)
        area = np.linalg.norm(np.cross(second - first, third - first), axis=1)
        if not area.sum() > 0:
            return np.empty((0, 3))
        face = rng.choice(len(area), size=count, p=area / area.sum())
        root, other = np.sqrt(rng.random(count))[:, None], rng.random(count)[:, None]
        points: NDArray[np.float64] = (
            (1 - root) * first[face] + root * (1 - other) * second[face] + root * other * third[face]
        )
        return points


def _mirror(axis: int) -> NDArray[np.float64]:
    return np.where(np.arange(3) == axis, -1.0, 1.0)


def _clip_below(triangles: NDArray[np.float64], axis: int, limit: float) -> NDArray[np.float64]:
    """Return the part of triangles [F, 3, 3] with coordinate ``axis`` <= ``limit``."""
    inside = triangles[..., axis] <= limit
    count = inside.sum(axis=1)
    parts = [triangles[count == 3]]
    for kept in (1, 2):
        some = count == kept
        lone = np.argmax(inside[some] == (kept == 1), axis=1)  # the corner that is alone on its side
        order = (lone[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(triangles[some], order[..., None], axis=1), 1, 0)
        ab, ac = _crossing(a, b, axis, limit), _crossing(a, c, axis, limit)
        if kept == 1:
            parts.append(np.stack([a, ab, ac], axis=1))
        else:
            parts += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
    return np.concatenate(parts)


def _crossing(a: NDArray[np.float64], b: NDArray[np.float64], axis: int, limit: float) -> NDArray[np.float64]:
    fraction = (limit - a[:, axis]) / (b[:, axis] - a[:, axis])
    point = a + fraction[:, None] * (b - a)
    point[:, axis] = limit
    return point


def read_obj(path: Path) -> Mesh:
    """Return the mesh of a Wavefront OBJ file: vertices and faces; polygons become fans, all else is ignored.

    Raises
    ------
    InputError
        The file is missing, or a line cannot be understood.
    """
    if not path.is_file():
        raise MissingFileError(f"Mesh {path} does not exist.")
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "v":
                vertices.append([float(value) for value in rest.split()[:3]])
            elif word == "f":
                corners = [int(corner.split("/")[0]) for corner in rest.split()]
                corners = [corner - 1 if corner > 0 else len(vertices) + corner for corner in corners]
                faces += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
        except ValueError:
            raise InputError(f"{path}, line {number}: {line.strip()[:60]!r} is no vertex or face.") from None
    points, index = np.asarray(vertices, np.float64).reshape(-1, 3), np.asarray(faces, np.int64).reshape(-1, 3)
    if len(index) and (index.min() < 0 or index.max() >= len(points)):
        raise InputError(f"{path} has faces with vertices that it does not hold.")
    return Mesh(points[index])


def voxel_centroids(points: NDArray[np.float64], voxel: float) -> NDArray[np.float64]:
    """Return the mean point [n, 3] of every occupied cube of ``voxel`` metres, in the order of the cubes."""
    if not len(points):
        return points
    cubes = np.floor((points - points.min(axis=0) + voxel / 2) / voxel).astype(np.int64)
    _, owner, count = np.unique(cubes, axis=0, return_inverse=True, return_counts=True)
    owner = owner.ravel()
    sums = np.stack([np.bincount(owner, points[:, axis]) for axis in range(3)], axis=1)
    return sums / count[:, None]
