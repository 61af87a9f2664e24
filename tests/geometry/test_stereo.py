"""Stereo matching against a scene of known heights, through affine, pinhole and RPC cameras."""

import numpy as np
import pytest
from scipy import ndimage

from refbench.contracts.errors import InputError, UnsupportedError
from refbench.contracts.grid import Bounds
from refbench.geometry.cameras import Pinhole
from refbench.geometry.rpc_fit import fit_rpc
from refbench.geometry.stereo import BLOCK, MatchOptions, match_pair, triangulate

CENTRE = np.array([600_000.0, 5_200_000.0])
GSD, SIZE, STEP_M = 0.5, 160, 8.0
BOUNDS = Bounds(CENTRE[0] - 30, CENTRE[1] - 30, CENTRE[0] + 30, CENTRE[1] + 30)


def satellite(lean):
    """A pinhole 600 km up that looks at the centre from (lean, 0.05) metres aside per metre of height."""
    eye = np.append(CENTRE, 0.0) + 600_000.0 * np.array([lean, 0.05, 1.0])
    forward = np.append(CENTRE, 20.0) - eye
    distance = np.linalg.norm(forward)
    forward /= distance
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    K = np.array([[distance / GSD, 0, (SIZE - 1) / 2], [0, distance / GSD, (SIZE - 1) / 2], [0, 0, 1.0]])
    return Pinhole(K, R, -R @ eye, SIZE, SIZE)


def texture(x, y):
    """A fixed random pattern over the ground."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((700, 700)), 1.2)
    return ndimage.map_coordinates(noise, [(y - CENTRE[1]) * 3 + 350, (x - CENTRE[0]) * 3 + 350], order=1)


def surface(x):
    """Ground at 20 m, and east of the centre a terrace STEP_M higher."""
    return np.where(x > CENTRE[0], 20.0 + STEP_M, 20.0)


def rendered_image(camera):
    """Render the terrace: the highest of the two levels that the ray of a pixel meets on its own side."""
    col, row = np.meshgrid(np.arange(SIZE, dtype=float), np.arange(SIZE, dtype=float))
    eye = camera.centre
    ray = camera.unproject(col, row, 1.0) - eye
    out = np.zeros((SIZE, SIZE))
    for level in (20.0, 20.0 + STEP_M):
        point = eye + ((level - eye[2]) / ray[..., 2])[..., None] * ray
        meets = surface(point[..., 0]) == level
        out = np.where(meets, texture(point[..., 0], point[..., 1]), out)
    return 100 + 20 * out


@pytest.fixture(scope="module")
def pair():
    cameras = satellite(-0.15), satellite(0.18)
    return *(rendered_image(camera) for camera in cameras), *cameras


def check(matches):
    x, z = matches.xyz[:, 0], matches.xyz[:, 2]
    sure = np.abs(x - CENTRE[0]) > 6
    error = z[sure] - surface(x[sure])
    assert sure.sum() > 9000
    metres_per_px = GSD / 0.33
    assert np.median(np.abs(error)) < 0.3 * metres_per_px, "OpenCV is drawn to whole disparities by up to 0.25 px"
    assert np.quantile(np.abs(error), 0.95) < 0.6 * metres_per_px


def test_pinholes_give_the_known_heights(pair):
    matches = match_pair(*pair, BOUNDS, (10.0, 40.0))
    check(matches)
    assert np.median(matches.residual) < 0.05
    col, row, _ = pair[2].project(matches.xyz)
    np.testing.assert_allclose(np.column_stack([col, row]), matches.pixel, atol=0.3)


def test_rpcs_give_what_their_cameras_give(pair):
    from rasterio.crs import CRS

    crs = CRS.from_epsg(32632)
    rpcs = [fit_rpc(camera, BOUNDS.padded(60), (0.0, 60.0), crs, nodes=9).rpc for camera in pair[2:]]
    matches = match_pair(*pair[:2], *rpcs, BOUNDS, (10.0, 40.0))
    check(matches)
    plain = match_pair(*pair, BOUNDS, (10.0, 40.0))
    assert abs(len(matches.xyz) / len(plain.xyz) - 1) < 0.01


def test_the_order_of_the_images_does_not_matter(pair):
    image_a, image_b, camera_a, camera_b = pair
    check(match_pair(image_b, image_a, camera_b, camera_a, BOUNDS, (10.0, 40.0)))


def test_blocks_join_without_a_seam(pair, monkeypatch):
    from refbench.geometry import stereo

    monkeypatch.setattr(stereo, "BLOCK", 64)
    assert BLOCK > 64
    check(match_pair(*pair, BOUNDS, (10.0, 40.0), gsd=GSD))


def test_points_stay_inside_the_bounds(pair):
    x, y = match_pair(*pair, BOUNDS, (10.0, 40.0), options=MatchOptions(window=3)).xyz[:, :2].T
    assert x.min() >= BOUNDS.west and x.max() < BOUNDS.east
    assert y.min() >= BOUNDS.south and y.max() < BOUNDS.north


def test_triangulation_inverts_projection():
    camera_a, camera_b = satellite(-0.15), satellite(0.18)
    rng = np.random.default_rng(1)
    xyz = np.append(CENTRE, 20.0) + rng.uniform(-25, 25, (500, 3))
    at_a, at_b = (np.stack(camera.project(xyz)[:2], axis=-1) for camera in (camera_a, camera_b))
    found, residual = triangulate(camera_a, camera_b, at_a, at_b, xyz + rng.uniform(-20, 20, xyz.shape))
    np.testing.assert_allclose(found, xyz, atol=1e-5)
    assert residual.max() < 1e-5


def test_residuals_tell_rows_that_disagree():
    camera_a, camera_b = satellite(-0.15), satellite(0.18)
    xyz = np.append(CENTRE, 20.0) + np.zeros((5, 3))
    at_a, at_b = (np.stack(camera.project(xyz)[:2], axis=-1) for camera in (camera_a, camera_b))
    _, residual = triangulate(camera_a, camera_b, at_a, at_b + np.array([0.0, 2.0]), xyz)
    np.testing.assert_allclose(residual, np.sqrt(2 / 4), rtol=0.01)  # one pixel left in the rows of each image


def test_bad_pairs_are_refused(pair):
    image_a, image_b, camera_a, camera_b = pair
    with pytest.raises(InputError, match="single-band"):
        match_pair(image_a[None], image_b, camera_a, camera_b, BOUNDS, (10.0, 40.0))
    with pytest.raises(InputError, match="empty"):
        match_pair(image_a, image_b, camera_a, camera_b, BOUNDS, (40.0, 10.0))
    with pytest.raises(UnsupportedError, match="base-to-height"):
        match_pair(image_a, image_a, camera_a, camera_a, BOUNDS, (10.0, 40.0))


def test_close_range_views_are_refused():
    def near(x):
        K = np.array([[100.0, 0, 80], [0, 100.0, 80], [0, 0, 1]])
        R = np.diag([1.0, -1.0, -1.0])
        eye = np.array([CENTRE[0] + x, CENTRE[1], 100.0])
        return Pinhole(K, R, -R @ eye)

    image = np.zeros((160, 160))
    with pytest.raises(UnsupportedError, match="far cameras"):
        match_pair(image, image, near(-15.0), near(15.0), BOUNDS, (0.0, 60.0))
