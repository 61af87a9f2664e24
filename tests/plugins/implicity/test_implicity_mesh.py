"""Meshes of the official data set: closest points, clipping, OBJ files, centroids."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from refbench import InputError  # noqa: E402
from refbench.contracts.errors import MissingFileError  # noqa: E402
from refbench_implicity.official.closest_point import ClosestPoint  # noqa: E402
from refbench_implicity.official.mesh import Mesh, read_obj, voxel_centroids  # noqa: E402


def brute_closest(points, triangles):
    """Closest points by a fine barycentric lattice: an upper bound of the distance, nearly tight."""
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60)))
    u, v = u[u + v <= 1], v[u + v <= 1]
    a, b, c = np.moveaxis(triangles, 1, 0)
    lattice = a[:, None] + u[:, None] * (b - a)[:, None] + v[:, None] * (c - a)[:, None]
    return np.sqrt(((points[:, None] - lattice.reshape(-1, 3)) ** 2).sum(axis=2).min(axis=1))


@pytest.mark.parametrize("count", [1, 3, 4, 5, 37, 200])
def test_closest_points_are_those_of_a_brute_search(count):
    rng = np.random.default_rng(count)
    corner = np.array([4e5, 5e6, 400])
    triangles = rng.uniform(0, 20, (count, 1, 3)) + rng.normal(0, 1.5, (count, 3, 3)) + corner
    points = rng.uniform(-5, 25, (60, 3)) + corner
    found = ClosestPoint(triangles)(points)
    distance = np.linalg.norm(points - found, axis=1)
    brute = brute_closest(points, triangles)
    assert (distance <= brute + 1e-9).all() and (brute - distance < 0.2).all()
    # What was found lies on the mesh: its own closest point is itself.
    np.testing.assert_allclose(ClosestPoint(triangles)(found), found, rtol=0, atol=1e-8)


def test_closest_points_of_degenerate_triangles_are_finite():
    triangles = np.array([[[0, 0, 0], [2, 0, 0], [1, 0, 0]], [[5, 5, 5]] * 3], np.float64)
    found = ClosestPoint(triangles)(np.array([[1.0, 3, 0], [6, 5, 5], [-1, 0, 0]]))
    np.testing.assert_allclose(found, [[1, 0, 0], [5, 5, 5], [0, 0, 0]], atol=1e-12)


def test_a_mesh_without_triangles_has_no_closest_point():
    with pytest.raises(InputError, match="no closest point"):
        ClosestPoint(np.empty((0, 3, 3)))


def area(mesh):
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_clipping_cuts_triangles_at_the_rectangle():
    plane = Mesh(np.array([[[0, 0, 0], [10, 0, 10], [10, 10, 10]], [[0, 0, 0], [10, 10, 10], [0, 10, 0]]], np.float64))
    part = plane.clipped((2, 3), (5, 7))
    assert area(part) == pytest.approx(3 * 4 * np.sqrt(2))
    assert part.triangles[..., :2].min(axis=(0, 1)).tolist() == [2, 3]
    assert part.triangles[..., :2].max(axis=(0, 1)).tolist() == [5, 7]
    np.testing.assert_allclose(part.triangles[..., 2], part.triangles[..., 0])
    assert part.z_range == (2, 5)
    assert len(plane.clipped((20, 20), (30, 30))) == 0
    points = part.sampled(2000, np.random.default_rng(0))
    assert ((points[:, :2] >= (2, 3)) & (points[:, :2] <= (5, 7))).all()
    np.testing.assert_allclose(points.mean(axis=0)[:2], (3.5, 5), atol=0.1)


def test_obj_files(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("# x\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 2.5\nvn 0 0 1\nf 1/1/1 2//1 3 -1\n")
    assert read_obj(path).triangles.tolist() == [
        [[0, 0, 0], [1, 0, 0], [1, 1, 0]],
        [[0, 0, 0], [1, 1, 0], [0, 1, 2.5]],
    ]
    path.write_text("v 0 0 zero\n")
    with pytest.raises(InputError, match="line 1"):
        read_obj(path)
    path.write_text("v 0 0 0\nf 1 2 3\n")
    with pytest.raises(InputError, match="does not hold"):
        read_obj(path)
    with pytest.raises(MissingFileError):
        read_obj(tmp_path / "none.obj")


def test_voxel_centroids_are_means():
    points = np.array([[0, 0, 0], [0.2, 0.2, 0.2], [5, 5, 5]], np.float64)
    assert voxel_centroids(points, 1.0).tolist() == [[0.1, 0.1, 0.1], [5, 5, 5]]
    assert len(voxel_centroids(np.empty((0, 3)), 1.0)) == 0
