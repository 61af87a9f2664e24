import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import RPCTransformer
from rpc_example import example_rpc

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds
from refbench.geometry.cameras import Pinhole
from refbench.geometry.crs_map import crs_map, transform_exact
from refbench.geometry.rpc import RPC
from refbench.geometry.rpc_fit import fit_rpc

UTM = CRS.from_epsg(32632)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5), st.floats(0, 19600), st.floats(0, 24000), st.floats(50, 1000))
def test_localise_then_project_is_the_identity(seed, col, row, h):
    rpc = example_rpc(seed=seed)
    again = rpc.project_lonlat(*rpc.localise(col, row, h), h)
    np.testing.assert_allclose(np.ravel(again), [col, row], atol=1e-8)


def test_gdal_answers_half_a_pixel_more():
    rpc = example_rpc()
    lon, lat, h = np.array([10.6, 10.7, 10.75]), np.array([48.0, 48.1, 48.12]), np.array([100.0, 500, 900])
    with RPCTransformer(rasterio.rpc.RPC.from_gdal(rpc.to_tags())) as gdal:
        rows, cols = gdal.rowcol(lon, lat, zs=h, op=float)
    col, row = rpc.project_lonlat(lon, lat, h)
    np.testing.assert_allclose(np.subtract(cols, col), 0.5, atol=1e-6)
    np.testing.assert_allclose(np.subtract(rows, row), 0.5, atol=1e-6)


def test_scene_coordinates_pass_through_the_crs():
    rpc = example_rpc(UTM)
    lon, lat, h = np.array([[10.6, 10.7]]), np.array([[48.0, 48.1]]), np.array([[100.0, 500]])
    x, y = transform_exact(CRS.from_epsg(4326), UTM, lon, lat)
    col, row, depth = rpc.project(np.stack([x, y, h], axis=-1))
    np.testing.assert_allclose(np.stack([col, row]), np.stack(rpc.project_lonlat(lon, lat, h)), atol=1e-6)
    assert np.array_equal(depth, -h)
    np.testing.assert_allclose(rpc.unproject(col, row, depth), np.stack([x, y, h], axis=-1), atol=1e-6)


@pytest.mark.parametrize("crs", [None, UTM])
def test_the_jacobian_is_the_slope(crs):
    rpc = example_rpc(crs)
    lon, lat = rpc.from_lonlat(np.array([10.61, 10.7]), np.array([48.0, 48.1]))
    xyz = np.stack([lon, lat, np.array([200.0, 600])], axis=-1)
    step = np.diag([1e-5, 1e-5, 1.0]) if crs is None else np.eye(3)
    ahead, behind = (np.stack(rpc.project(xyz[:, None] + s)[:2], axis=1) for s in (step, -step))
    numeric = (ahead - behind) / (2 * step.diagonal())
    np.testing.assert_allclose(rpc.jacobian(xyz), numeric, rtol=1e-6, atol=1e-6)


def test_every_text_form_is_the_same_camera():
    rpc = example_rpc()
    tags = rpc.to_tags()
    lines = [f"{key}: {value} pixels" for key, value in tags.items() if "COEFF" not in key]
    for key in tags:
        lines += [f"{key}_{i + 1}: {v}" for i, v in enumerate(tags[key].split())] if "COEFF" in key else []
    as_json = {k.lower(): [float(v) for v in t.split()] if "COEFF" in k else float(t) for k, t in tags.items()}
    for other in (RPC.from_dict(tags), RPC.from_text("\n".join(lines)), RPC.from_dict(as_json)):
        assert other.to_tags() == tags


def test_a_crop_has_its_own_camera():
    rpc = example_rpc()
    col, row = rpc.project_lonlat(10.7, 48.1, 500.0)
    crop = rpc.shifted(100, 200).project_lonlat(10.7, 48.1, 500.0)
    np.testing.assert_allclose(crop, [col - 100, row - 200], atol=1e-9)


def test_what_cannot_be_localised_is_nan():
    lon, lat = example_rpc().localise(np.array([1e9, 100.0]), np.array([1e9, 100.0]), np.array([0.0, 500.0]))
    assert np.isnan(lon).tolist() == [True, False]
    assert np.isnan(lat).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"LINE_OFF": None}, "lacks LINE_OFF"),
        ({"LAT_SCALE": "0"}, "other than 0"),
        ({"HEIGHT_OFF": "abc"}, "must be a number"),
        ({"LINE_NUM_COEFF": "1 2 3"}, "20 coefficients"),
        ({"SAMP_DEN_COEFF": " ".join(["nan"] * 20)}, "finite"),
    ],
)
def test_bad_tags_are_named(change, word):
    tags = {**example_rpc().to_tags(), **change}
    with pytest.raises(InputError, match=word):
        RPC.from_dict({key: value for key, value in tags.items() if value is not None})


def far_camera(distance=600e3):
    """A satellite south-west of the scene, about 0.5 m a pixel."""
    target = np.array([500e3, 5300e3, 500.0])
    centre = target + distance * np.array([-0.3, -0.2, 0.9]) / np.linalg.norm([-0.3, -0.2, 0.9])
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0, 1.0, 0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    return Pinhole(np.array([[2 * distance, 0, 255.5], [0, 2 * distance, 255.5], [0, 0, 1]]), R, -R @ centre)


@pytest.mark.parametrize("half", [60, 600, 6000])
def test_an_rpc_follows_a_virtual_camera(half):
    camera, bounds = far_camera(), Bounds(500e3 - half, 5300e3 - half, 500e3 + half, 5300e3 + half)
    fit = fit_rpc(camera, bounds, (450, 600), UTM)
    assert fit.rms_error_px <= fit.max_error_px < 1e-3
    xyz = np.random.default_rng(0).uniform(
        [500e3 - half, 5300e3 - half, 450], [500e3 + half, 5300e3 + half, 600], (99, 3)
    )
    rpc, reference = fit.rpc.project(xyz), camera.project(xyz)
    assert np.hypot(rpc[0] - reference[0], rpc[1] - reference[1]).max() < 1e-3


def test_an_empty_box_or_an_unseen_one_is_refused():
    with pytest.raises(InputError, match="positive size"):
        fit_rpc(far_camera(), Bounds(0, 0, 1, 1), (5, 5), UTM)
    near = Pinhole(np.diag([1.0, 1, 1]), np.eye(3), np.array([0, 0, -5.0]))
    with pytest.raises(InputError, match="does not see"):
        fit_rpc(near, Bounds(0, 0, 1, 1), (0, 10), None)


@pytest.mark.parametrize("code", [32632, 2154, 3857, 32740])
def test_the_fast_map_equals_proj(code):
    target = CRS.from_epsg(code)
    box = {2154: (2.2, 48.7, 2.5, 49.0), 32740: (55.2, -21.2, 55.5, -20.9)}.get(code, (10.5, 48.0, 10.8, 48.2))
    fast = crs_map(CRS.from_epsg(4326), target, Bounds(*box))
    assert fast.coefficients is not None
    lon, lat = np.random.default_rng(0).uniform(box[:2], box[2:], (500, 2)).T
    np.testing.assert_allclose(
        fast(lon, lat), transform_exact(CRS.from_epsg(4326), target, lon, lat), rtol=0, atol=3e-7
    )
    outside = np.array([box[2] + 0.5])
    exact = transform_exact(CRS.from_epsg(4326), target, outside, lat[:1])
    assert np.array_equal(fast(outside, lat[:1]), exact)
