import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refbench.contracts.errors import InputError
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole, rotation_of

unit = st.floats(-1, 1)
quaternions = st.tuples(unit, unit, unit, unit).filter(lambda q: np.linalg.norm(q) > 0.1)
K = np.array([[800.0, 0.5, 319.5], [0, 790.0, 239.5], [0, 0, 1]])


@given(quaternions, st.floats(0, 639), st.floats(0, 479), st.floats(0.5, 500))
def test_unproject_then_project_is_the_identity(q, col, row, depth):
    camera = Pinhole(K, rotation_of(q), np.array([3.0, -2.0, 5.0]))
    back = camera.project(camera.unproject(col, row, depth))
    np.testing.assert_allclose(np.ravel(back), [col, row, depth], rtol=1e-9, atol=1e-8)


@given(quaternions)
def test_a_quaternion_gives_a_rotation_and_its_sign_does_not_matter(q):
    R = rotation_of(q)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) > 0
    np.testing.assert_allclose(R, rotation_of([-v for v in q]), atol=1e-12)


def test_axes_are_opencv():
    camera = Pinhole(K, np.eye(3), np.zeros(3))
    col, row, depth = camera.project(np.array([[0, 0, 2.0], [1, 0, 2.0], [0, 1, 2.0], [0, 0, -2.0]]))
    assert (col[0], row[0], depth[0]) == (319.5, 239.5, 2.0)
    assert col[1] > col[0]  # x is right
    assert row[2] > row[0]  # y is down
    assert np.isnan(col[3])
    assert depth[3] == -2


def test_the_centre_projects_to_nothing():
    camera = Pinhole(K, rotation_of([1, 2, 3, 4]), np.array([1.0, 2, 3]))
    assert np.allclose(camera.R @ camera.centre + camera.t, 0)


def test_dict_round_trip_through_json():
    camera = Pinhole(K, rotation_of([1, 2, 3, 4]), np.array([1.0, 2, 3]), 640, 480)
    again = Pinhole.from_dict(json.loads(json.dumps(camera.to_dict())))
    assert np.array_equal(again.R, camera.R)
    assert np.array_equal(again.K, camera.K)
    assert again.width == 640


@settings(max_examples=30)
@given(quaternions, st.tuples(unit, unit, st.floats(2, 9)))
def test_the_jacobian_is_the_slope(q, local):
    camera = Pinhole(K, rotation_of(q), np.array([0.1, 0.2, 0.3]))
    point = camera.R.T @ (np.array(local) - camera.t)
    step = 1e-5 * np.eye(3)
    ahead, behind = camera.project(point + step), camera.project(point - step)
    numeric = np.stack([(ahead[i] - behind[i]) / 2e-5 for i in (0, 1)])
    np.testing.assert_allclose(camera.jacobian(point), numeric, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"R": 2 * np.eye(3)}, "rotation"),
        ({"R": np.diag([1.0, 1, -1])}, "rotation"),
        ({"R": np.eye(2)}, "R must be"),
        ({"K": np.diag([1.0, 1, 2])}, "K must be"),
        ({"t": np.array([0, 0, np.nan])}, "finite"),
    ],
)
def test_bad_pinholes_are_refused(fields, word):
    with pytest.raises(InputError, match=word):
        Pinhole(**{"K": K, "R": np.eye(3), "t": np.zeros(3), **fields})


def test_bad_records_are_refused():
    with pytest.raises(InputError, match="t is missing"):
        Pinhole.from_dict({"K": K.tolist(), "R": np.eye(3).tolist()})
    with pytest.raises(InputError, match="numbers"):
        Pinhole.from_dict({"K": "abc", "R": np.eye(3).tolist(), "t": [0, 0, 0]})
    with pytest.raises(InputError, match="quaternion"):
        rotation_of([0, 0, 0, 0])


def looking_down(height):
    """A camera that looks straight down at the origin, columns east, rows south."""
    R = np.diag([1.0, -1, -1])
    return Pinhole(np.array([[height * 2.0, 0, 50], [0, height * 2.0, 50], [0, 0, 1]]), R, np.array([0, 0, height]))


def test_affine_equals_a_far_pinhole_and_states_its_error():
    errors = []
    for height in (1e3, 1e4, 1e5):
        affine = AffineCamera.from_camera(looking_down(height), [0, 0, 0], (20, 20, 20), frame="local")
        errors.append(affine.max_error_px)
    # Perspective over +-20 m of height: 40 px off-axis times 20 m over the height, and less at second order.
    assert errors[0] == pytest.approx(np.hypot(40, 40) * 20 / 980, rel=1e-6)
    assert errors[2] < errors[1] / 9 < errors[0] / 80


def test_affine_depth_grows_downwards_and_unprojects():
    affine = AffineCamera.from_camera(looking_down(1e3), [5, 6, 7])
    ray = np.array([5, 6, 7 - 1e3])
    assert np.allclose(affine.direction, ray / np.linalg.norm(ray))
    xyz = np.random.default_rng(0).uniform(-9, 9, (20, 3))
    np.testing.assert_allclose(affine.unproject(*affine.project(xyz)), xyz, atol=1e-9)
    assert np.ravel(affine.project(np.array([5, 6, 4.0])))[2] == pytest.approx(3, rel=1e-4)
    upward = Pinhole(K, np.eye(3), np.zeros(3))
    assert np.allclose(AffineCamera.from_camera(upward, [0, 0, 9]).direction, [0, 0, 1])


def test_an_affine_without_an_extent_states_no_error():
    assert "not measured" in repr(AffineCamera.from_camera(looking_down(1e3), [3, 4, 5]))


def test_bad_affines_are_refused():
    with pytest.raises(InputError, match="parallel"):
        AffineCamera(np.ones((2, 3)), np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="does not see"):
        AffineCamera.from_camera(looking_down(10.0), [0, 0, 20])
