"""What DSM mode is made of: the height field, cameras over it, pairs of views, RPC bias."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import cv2  # noqa: E402
from dsm_runs import CONFIG, FEW, error, reduced, refined, vertices  # noqa: E402
from hill_scene import CAMERAS, GRID, SIDE, affine_camera, hill, hill_scene, two  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from whole_view import ground_view  # noqa: E402

from refbench import Window  # noqa: E402
from refbench.contracts.raster import Mask  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.geometry.tile_views import tile_view  # noqa: E402
from refbench_diffrender.dsm_mode.height_field import HeightField  # noqa: E402
from refbench_diffrender.dsm_mode.rpc_bias import without_rpc_bias  # noqa: E402
from refbench_diffrender.rasteriser.rasteriser import rasteriser  # noqa: E402
from refbench_diffrender.views.ground_view import RenderedView, ground_part, view_scale  # noqa: E402
from refbench_diffrender.views.view_pairs import sampled, sources_of  # noqa: E402

# --- the height field ---------------------------------------------------------------------------------------------


@given(st.integers(2, 12), st.integers(2, 12), st.floats(0.0, 4.0), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_heights_are_the_diffusion_of_the_field(rows, cols, reach, seed):
    field = HeightField(np.zeros((rows, cols)), _grid(rows, cols), reach, "cpu")
    with torch.no_grad():
        field.field += torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, cols))).float()
    change = field.change().detach().double().numpy()
    padded = np.pad(change, 1, mode="edge")
    laplacian = 4 * change - padded[2:, 1:-1] - padded[:-2, 1:-1] - padded[1:-1, 2:] - padded[1:-1, :-2]
    np.testing.assert_allclose(change + reach**2 * laplacian, field.field.detach(), atol=2e-4)


def _grid(rows, cols):
    return replace(GRID, width=cols, height=rows)


# --- cameras --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAMERAS)
def test_a_drawn_view_projects_as_its_camera(kind):
    camera = CAMERAS[kind](0.3)
    scene = hill_scene({"one": camera})
    whole = ground_view(scene.views["one"])
    cut = whole.cut(vertices()[: 20 * SIDE])
    assert cut.shape < whole.shape
    for view in (whole, cut, reduced(whole, 0.5)):
        drawn = RenderedView(view, vertices(), "cpu")
        found = drawn.project(torch.from_numpy(vertices()))
        col, row, depth = camera.project(vertices())
        across = view.scale[0] * (col + 0.5) - 0.5 - view.corner[0]
        down = view.scale[1] * (row + 0.5) - 0.5 - view.corner[1]
        np.testing.assert_allclose(found[:, 0] / found[:, 2], across, atol=1e-6)
        np.testing.assert_allclose(found[:, 1] / found[:, 2], down, atol=1e-6)
        np.testing.assert_allclose(found[:, 3], depth, atol=1e-6)
        clip = drawn.clip(found)[0].double()
        rows, cols = view.shape
        np.testing.assert_allclose((clip[:, 0] / clip[:, 3] + 1) * cols / 2 - 0.5, across, atol=1e-3)
        np.testing.assert_allclose((clip[:, 1] / clip[:, 3] + 1) * rows / 2 - 0.5, down, atol=1e-3)
        order = np.argsort(np.round(depth, 3), kind="stable")
        assert (np.diff((clip[:, 2] / clip[:, 3]).numpy()[order]) >= -1e-5).all()  # the nearer is drawn before


@pytest.mark.parametrize("kind", CAMERAS)
def test_reduced_images_keep_what_they_show(kind):
    view = ground_view(hill_scene({"one": CAMERAS[kind](0.2)}).views["one"])
    small = reduced(view, 0.5)
    assert small.shape == (48, 48) and reduced(view, 1.5) is view
    inner = vertices().reshape(SIDE, SIDE, 3)[8:-8, 8:-8]
    both = view.brightness_at(inner), small.brightness_at(inner)
    assert np.isfinite(both).all() and np.corrcoef(*(one.ravel() for one in both))[0, 1] > 0.9


@pytest.mark.parametrize("kind", CAMERAS)
def test_directions_follow_the_rays(kind):
    camera = CAMERAS[kind](0.3)
    view, points = ground_view(hill_scene({"one": camera}).views["one"]), vertices()[::500]
    rays = view.direction(points)
    assert (rays[:, 2] < 0).all()
    before, after = (camera.project(points + shift * rays) for shift in (0, 2.0))
    np.testing.assert_allclose(before[:2], after[:2], atol=2e-3)


def test_what_a_mask_excludes_is_not_known():
    scene = hill_scene({"one": affine_camera(0.1)})
    values = np.ones((96, 96), np.uint8)
    values[:10] = 0
    view = ground_view(replace(scene.views["one"], mask=ArraySource(Mask(values))))
    assert not view.known[:10].any() and view.known[10:].all()


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_sources_are_those_under_a_good_angle():
    leans = {"nadir": 0.0, "near": 0.02, "good": 0.27, "far": 1.2, "same": 0.0}
    views = [ground_view(view) for view in hill_scene({n: affine_camera(a) for n, a in leans.items()}).views.values()]
    found = sources_of(views, sampled(vertices(), (SIDE, SIDE)), 2, 0.2, 15.0)
    assert [views[number].name for number in found[0]] == ["good", "far"]
    assert all(number not in one for number, one in enumerate(found))
    assert len(sources_of(views, sampled(vertices(), (SIDE, SIDE)), 9, 0.2, 15.0)[0]) == 3  # same has no angle


# --- RPC bias -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["affine", "rpc"])
def test_satellites_are_laid_on_each_other(kind):
    views = [ground_view(view) for view in hill_scene(two(kind)).views.values()]
    beside = [views[0], views[1].moved(4.3, -2.6)]
    known = np.ones((SIDE, SIDE), bool)
    found, offsets = without_rpc_bias(beside, hill(), known, CONFIG, rasteriser("torch"), "cpu")
    assert found[0] is beside[0] and list(offsets) == ["right"]
    np.testing.assert_allclose(offsets["right"], (-4.3, 2.6), atol=0.1)
    np.testing.assert_allclose(found[1].corner, (0, 0), atol=0.1)


def test_images_of_aerial_cameras_stay():
    cameras = {"a": CAMERAS["pinhole"](-0.3), "b": CAMERAS["pinhole"](0.3), "sat": affine_camera(0.05)}
    views = [ground_view(view) for view in hill_scene(cameras).views.values()]
    views[2] = views[2].moved(1.5, 0.5)
    found, offsets = without_rpc_bias(views, hill(), np.ones((SIDE, SIDE), bool), CONFIG, rasteriser("torch"), "cpu")
    assert found[:2] == views[:2] and list(offsets) == ["sat"]
    np.testing.assert_allclose(offsets["sat"], (-1.5, -0.5), atol=0.15)


def test_what_does_not_show_the_same_is_not_moved():
    views = [ground_view(view) for view in hill_scene(two("affine")).views.values()]
    noise = np.random.default_rng(0).random(views[1].shape).astype(np.float32)
    other = replace(views[1], brightness=noise)
    found, offsets = without_rpc_bias(
        [views[0], other], hill(), np.ones((SIDE, SIDE), bool), CONFIG, rasteriser("torch"), "cpu"
    )
    assert offsets == {"right": (0.0, 0.0)} and found[1].corner == (0.0, 0.0)


@pytest.mark.slow
def test_a_run_mends_the_rpc_bias_and_says_it():
    scene = hill_scene(two("affine"), start=hill().heights)
    camera = scene.views["right"].camera
    views = {**scene.views, "right": replace(scene.views["right"], camera=replace(camera, offset=camera.offset + 2.0))}
    kept, moved = (
        refined(replace(scene, views=views), replace(FEW, dsm=replace(FEW.dsm, rpc_bias=p))) for p in (True, False)
    )
    np.testing.assert_allclose(kept.notes["rpc_bias_px"]["right"], (-2, -2), atol=0.1)
    assert error(kept.dsm) < 0.1 and "rpc_bias_px" not in moved.notes
    assert error(moved.dsm) > 2 * error(kept.dsm)


@pytest.mark.parametrize("kind", CAMERAS)
def test_parts_of_a_reduced_view_are_the_whole_reduced(kind):
    view = hill_scene({"one": CAMERAS[kind](0.2)}).views["one"]
    whole = tile_view(view)
    at = replace(view_scale(whole), scale=(37 / 96, 41 / 96), shift=(0.5, -0.25))
    full, part = ground_part(whole, at), ground_part(tile_view(view, Window(11, 20, 60, 51)), at)
    left, top = (int(one - other) for one, other in zip(part.corner, full.corner, strict=True))
    rows, cols = part.shape
    assert full.shape == (41, 37) and rows > 15 and cols > 15
    np.testing.assert_allclose(part.brightness, full.brightness[top : top + rows, left : left + cols], atol=1e-6)
    resized = cv2.resize(ground_view(view).brightness, (37, 41), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(full.brightness, resized, atol=1e-5)
