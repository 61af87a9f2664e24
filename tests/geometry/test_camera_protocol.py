"""What every camera model promises, and one that refbench does not know beside its own."""

import numpy as np
import pytest
from pushbroom import LineScanner
from rasterio.crs import CRS
from rpc_example import example_rpc

from refbench.contracts.camera import Camera
from refbench.contracts.errors import UnsupportedError
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.camera_model import CameraModel
from refbench.geometry.cameras import Pinhole, pinhole_of, rotation_of

UTM = CRS.from_epsg(32632)
K = np.array([[800.0, 0.5, 319.5], [0, 790, 239.5], [0, 0, 1]])


def cases():
    rng = np.random.default_rng(0)
    rpc = example_rpc(UTM)
    lon, lat, h = rng.uniform(10.6, 10.75, 30), rng.uniform(48.0, 48.12, 30), rng.uniform(50, 900, 30)
    metres = np.stack([*rpc.from_lonlat(lon, lat), h], axis=-1)
    oblique = Pinhole(K, rotation_of([0.1, 1, 0.2, -0.1]), np.array([3.0, -2, 90]), 640, 480)
    scanner = LineScanner(500_010.0, 5_000_000.0, 900.0, 1800.0, 39.5, 0.5, 0.3)
    ground = np.array([500_000.0, 4_999_970.0, 0]) + rng.uniform(0, 40, (30, 3))
    return {
        "pinhole": (oblique, rng.uniform(-20, 20, (30, 3))),
        "rpc": (rpc, metres),
        "rpc in degrees": (example_rpc(), np.stack([lon, lat, h], axis=-1)),
        "affine": (AffineCamera.from_camera(rpc, metres[0], frame="EPSG:32632"), metres),
        "line scanner": (scanner, ground),
    }


CASES = cases()
every = pytest.mark.parametrize(("camera", "xyz"), CASES.values(), ids=CASES)


@every
def test_all_members_are_there(camera, xyz):
    assert isinstance(camera, Camera)
    assert camera.is_perspective == (camera.pinhole is not None)


@every
def test_unproject_inverts_project(camera, xyz):
    tolerance = 1e-11 if abs(xyz[0, 1]) < 90 and xyz[0, 2] > 40 else 2e-6
    np.testing.assert_allclose(camera.unproject(*camera.project(xyz)), xyz, rtol=0, atol=tolerance)


@every
def test_rays_are_cut_at_a_height(camera, xyz):
    col, row, _ = camera.project(xyz)
    at = camera.unproject_to_height(col, row, xyz[:, 2] + 7)
    np.testing.assert_allclose(at[:, 2], xyz[:, 2] + 7, atol=1e-6)
    np.testing.assert_allclose(camera.project(at)[:2], [col, row], rtol=0, atol=1e-5)
    assert np.abs(camera.unproject_to_height(col, row, xyz[:, 2]) - xyz).max() < 1e-5


@every
def test_the_jacobian_is_the_slope(camera, xyz):
    step = np.array([1e-6, 1e-6, 1e-2]) if abs(xyz[0, 1]) < 90 and xyz[0, 2] > 40 else np.full(3, 1e-2)
    ahead = [camera.project(xyz + offset) for offset in np.diag(step)]
    behind = [camera.project(xyz - offset) for offset in np.diag(step)]
    for axis in range(3):
        slope = (np.stack(ahead[axis][:2]) - np.stack(behind[axis][:2])) / (2 * step[axis])
        np.testing.assert_allclose(camera.jacobian(xyz)[..., axis].T, slope, rtol=1e-4, atol=1e-4)


@every
@pytest.mark.parametrize("factors", [(0.5, 0.5), (2.0, 0.25)])
def test_resizing_keeps_the_corners(camera, xyz, factors):
    col, row, depth = camera.project(xyz)
    small = camera.scaled(*factors).project(xyz)
    np.testing.assert_allclose(small[0], (col + 0.5) * factors[0] - 0.5, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(small[1], (row + 0.5) * factors[1] - 0.5, rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(small[2], depth)


def test_resizing_resizes_the_known_size():
    assert CASES["pinhole"][0].scaled(0.5, 0.25).size == (120, 320)
    assert example_rpc().scaled(0.5, 0.5).size is None


@every
def test_tensors_and_homogeneous_coordinates_give_the_same_numbers(camera, xyz):
    torch = pytest.importorskip("torch")
    model, points = camera.to_torch().to("cpu"), torch.tensor(xyz)
    found = torch.stack(model.project(points)).numpy()
    np.testing.assert_allclose(found, camera.project(xyz), rtol=0, atol=1e-6)
    place, w, depth = model.homogeneous(points)
    assert place.shape == (30, 2) and w.shape == depth.shape == (30, 1)
    np.testing.assert_allclose((place / w).numpy().T, found[:2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(depth[:, 0].numpy(), found[2], rtol=0, atol=1e-9)


def test_what_cameras_know_of_themselves():
    rpc, affine, pinhole = (CASES[name][0] for name in ("rpc", "affine", "pinhole"))
    assert rpc.height_range == (10.0, 1030.0) and rpc.crs == affine.crs == UTM
    assert pinhole.height_range is pinhole.crs is affine.height_range is None
    assert AffineCamera(affine.matrix, affine.offset, affine.origin, "lon/lat/h").crs is None
    assert pinhole.size == (480, 640) and rpc.size is affine.size is None


def test_a_pinhole_is_told_by_its_matrices():
    camera = CASES["pinhole"][0]
    again = pinhole_of(camera)
    assert np.array_equal(again.K, camera.K) and again.size == camera.size
    assert pinhole_of(Pinhole(K, camera.R, camera.t), (7, 9)).size == (7, 9)
    assert all(pinhole_of(CASES[name][0]) is None for name in CASES if name != "pinhole")


def test_a_ray_that_leads_away_reaches_nothing():
    level = Pinhole(K, np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), np.zeros(3))
    at = level.unproject_to_height(np.array([319.5, 319.5]), np.array([300.0, 239.5]), np.array([1.0, 1.0]))
    assert np.isnan(at).all()  # below the horizon a ray never rises; along it neither
    assert level.unproject_to_height(319.5, 100.0, 1.0)[2] == pytest.approx(1.0)


def test_a_model_of_two_methods_works_and_says_what_it_lacks():
    class Parallel(CameraModel):
        def project(self, xyz):
            return xyz[..., 0] + xyz[..., 2], -xyz[..., 1], -xyz[..., 2]

        def unproject(self, col, row, depth):
            return np.stack([col + depth, -row, -depth], axis=-1)

        def scaled(self, across, down):
            raise NotImplementedError

    camera = Parallel()
    assert isinstance(camera, Camera)
    np.testing.assert_allclose(camera.jacobian(np.zeros(3)), [[1, 0, 1], [0, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(camera.unproject_to_height(5.0, 2.0, 3.0), [2, -2, 3])
    with pytest.raises(UnsupportedError, match="Parallel has no differentiable form"):
        camera.to_torch()
