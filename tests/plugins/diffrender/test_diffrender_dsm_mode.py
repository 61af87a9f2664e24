"""DSM mode: cameras of all kinds move one height field; geometry by closed forms, the surface of a known hill."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hill_scene import BASE, CAMERAS, GRID, GSD, SIDE, affine_camera, hill, hill_scene, two  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from makers import predicted_by  # noqa: E402
from whole_view import ground_view  # noqa: E402

from refbench import DSM, Context, InputError  # noqa: E402
from refbench.contracts.errors import CancelledError, UnsupportedError  # noqa: E402
from refbench.geometry.nodata_fill import inside  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig  # noqa: E402
from refbench_diffrender.dsm_config import DsmConfig  # noqa: E402
from refbench_diffrender.dsm_mode.dsm_mode import DsmMode, refines_dsm  # noqa: E402
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement  # noqa: E402
from refbench_diffrender.dsm_mode.dsm_trust import cell_confidence  # noqa: E402
from refbench_diffrender.dsm_mode.height_field import HeightField  # noqa: E402
from refbench_diffrender.dsm_mode.rpc_bias import without_rpc_bias  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.rasteriser.rasteriser import rasteriser  # noqa: E402

CONFIG = DiffrenderConfig(
    mode="dsm", tensorboard=False, outputs=("confidence",), dsm=DsmConfig(steps=50, rpc_bias=False)
)
FEW = replace(CONFIG, dsm=DsmConfig(steps=6, rpc_bias=False))


def refined(scene, config=CONFIG, **context):
    method, context = Diffrender(config), Context(seed=3, **context)
    tiled = method.tile_method(scene)
    return method.refine(scene, context) if tiled is None else predicted_by(tiled, scene, context)


def error(dsm):
    return float(np.abs(dsm.heights - hill().heights).mean())


def vertices(heights=None):
    x, y = GRID.centres()
    return np.stack([x, y, hill().heights.astype(float) if heights is None else heights], -1).reshape(-1, 3)


def block(scene, config=FEW, draw="torch", heights=None):
    start = np.asarray(scene.dsm.read().heights if heights is None else heights, float)
    views = [ground_view(view) for view in scene.views.values()]
    return DsmRefinement(start, np.ones(start.shape, bool), GRID, views, config, rasteriser(draw))


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


def test_photographs_of_aerial_cameras_stay():
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
def test_a_run_mends_the_pointing_and_says_it():
    scene = hill_scene(two("affine"), start=hill().heights)
    camera = scene.views["right"].camera
    views = {**scene.views, "right": replace(scene.views["right"], camera=replace(camera, offset=camera.offset + 2.0))}
    kept, moved = (
        refined(replace(scene, views=views), replace(FEW, dsm=replace(FEW.dsm, rpc_bias=p))) for p in (True, False)
    )
    np.testing.assert_allclose(kept.notes["rpc_bias_px"]["right"], (-2, -2), atol=0.1)
    assert error(kept.dsm) < 0.1 and "rpc_bias_px" not in moved.notes
    assert error(moved.dsm) > 2 * error(kept.dsm)


# --- the loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAMERAS)
def test_the_truth_is_alike_and_gradients_lead_there(kind):
    scene = hill_scene(two(kind))
    run = block(scene)
    batch = [(0, [1]), (1, [0])]
    flat = float(run.losses(batch)["patch"].detach())
    truth = block(scene, heights=hill().heights)
    assert float(truth.losses(batch)["patch"].detach()) < 0.1 * flat
    run.losses(batch)["patch"].backward()
    assert float((run.surface.field.grad * torch.from_numpy(hill().heights - BASE)).sum()) < 0  # up the hill


@pytest.mark.parametrize("kind", CAMERAS)
def test_gradients_agree_with_differences(kind):
    rng = np.random.default_rng(1)
    start = BASE + 0.13 + 0.02 * rng.random((SIDE, SIDE))  # off the pixel centres, where a texture has no slope
    config = replace(FEW, dsm=DsmConfig(steps=1, reach=0.0, colour=0.3, prior=0.1))
    run = block(hill_scene(two(kind, 0.2)), config, heights=start)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    way = sum(np.cos(x * rng.uniform(0.05, 0.2) + y * rng.uniform(0.05, 0.2) + rng.uniform(0, 6)) for _ in range(3))
    way = torch.from_numpy(way * np.hanning(SIDE)[:, None] * np.hanning(SIDE)).float()
    total = torch.stack(list(run.losses([(0, [1])]).values())).sum()
    total.backward()
    slope = float((run.surface.field.grad * way).sum())
    values = []
    for shift in (0.02, -0.02):
        with torch.no_grad():
            run.surface.field.copy_(shift * way)
            values.append(float(torch.stack(list(run.losses([(0, [1])]).values())).sum()))
    assert slope == pytest.approx((values[0] - values[1]) / 0.04, rel=0.05)


@pytest.mark.parametrize("kind", CAMERAS)
def test_a_wall_hides_what_lies_behind_it(kind):
    heights = np.full((SIDE, SIDE), BASE)
    heights[:, 30:34] += 10.0
    run = block(hill_scene(two(kind, 0.4)), heights=heights)
    _, seen = cell_confidence(run)
    middle = seen[SIDE // 2]
    shadow = int(10 * 0.4 / GSD)  # cells that one of both does not see, on either side
    assert (middle[34 + 2 : 34 + shadow - 2] == 1).all() and (middle[30 - shadow + 2 : 30 - 2] == 1).all()
    assert (middle[34 + shadow + 4 : SIDE - 6] == 2).all() and (middle[6 : 30 - shadow - 4] == 2).all()


@pytest.mark.parametrize("kind", CAMERAS)
def test_every_tensor_is_made_on_the_device_of_the_run(kind):
    run = block(hill_scene(two(kind)))
    with torch.device("meta"):  # what is made without a device lands there and cannot meet the others
        total = torch.stack(list(run.losses([(0, [1])]).values())).sum()
        total.backward()
        run.optimizer.step()
        cell_confidence(run)
    assert total.device.type == "cpu" and float(total.detach()) > 0


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAMERAS)
def test_a_hill_grows_out_of_the_plain(kind):
    prediction = refined(hill_scene(two(kind)))
    assert error(prediction.dsm) < 0.3 * error(DSM(np.full((SIDE, SIDE), BASE, np.float32), GRID))
    assert prediction.notes["mode"] == "dsm" and prediction.notes["views"] == ["left", "right"]
    top = prediction.dsm.heights[SIDE // 2, SIDE // 2] - BASE
    assert top == pytest.approx(3.0, abs=0.4)
    assert set(prediction.depths) == ({"left", "right"} if kind == "pinhole" else set())


def test_cameras_of_different_kinds_work_together():
    cameras = {"a": CAMERAS["affine"](-0.3), "p": CAMERAS["pinhole"](0.3), "r": CAMERAS["rpc"](0.05)}
    prediction = refined(hill_scene(cameras))
    assert error(prediction.dsm) < 0.3 * error(DSM(np.full((SIDE, SIDE), BASE, np.float32), GRID))
    assert prediction.layers["photo_consistency"][SIDE // 2, SIDE // 2] > 0.8


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_the_same_seed_gives_the_same_numbers(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    config = replace(FEW, backend=backend)
    first, second = (refined(hill_scene(two("affine")), config).dsm.heights for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_backends_agree():
    pytest.importorskip("numba")
    found = [refined(hill_scene(two("rpc")), replace(FEW, backend=name)).dsm.heights for name in ("torch", "numba")]
    assert np.abs(found[0] - found[1]).mean() < 0.01  # Adam enlarges rounding where nothing is seen


@pytest.mark.parametrize("steps", [0, 2, 5])
def test_a_stopped_run_goes_on_with_the_same_numbers(tmp_path, steps):
    left = [steps + 1]  # the engine asks before the block, the block after every step

    def is_cancelled():
        left[0] -= 1
        return left[0] < 0

    scene = hill_scene(two("affine"))
    whole = refined(scene, FEW)
    with pytest.raises(CancelledError):
        refined(scene, FEW, checkpoints=tmp_path, is_cancelled=is_cancelled)
    again = refined(scene, FEW, checkpoints=tmp_path)
    np.testing.assert_array_equal(again.dsm.heights, whole.dsm.heights)
    assert again.notes["blocks"]["dsm"]["checkpoint"] == f"Resumed from step {steps + 1}."
    other = refined(hill_scene(two("affine"), start=hill().heights), FEW, checkpoints=tmp_path)
    assert "starting from scratch" in other.notes["blocks"]["dsm"]["checkpoint"]


def test_blocks_cover_the_grid_and_agree_with_the_whole():
    config = replace(CONFIG, dsm=replace(CONFIG.dsm, block=48, halo=8))
    weights = np.zeros((SIDE, SIDE))
    plan = DsmMode(config).plan(GRID)
    for number in range(len(plan)):
        window = plan.window(number)
        at = window.intersection(GRID.full_window)
        weights[at.slices] += np.outer(*plan.weights_of(number))[inside(window, GRID)]
    assert (weights > 0).all()
    np.testing.assert_allclose(weights[8:-8, 8:-8], 1)
    prediction = refined(hill_scene(two("affine")), config)
    assert len(prediction.notes["blocks"]) == 9
    whole = refined(hill_scene(two("affine"))).dsm.heights
    assert np.abs(prediction.dsm.heights - whole).mean() < 0.1
    assert error(prediction.dsm) < 0.1


def test_a_loss_that_has_settled_ends_the_run():
    config = replace(CONFIG, patience=3, dsm=DsmConfig(steps=60, lr=1e-9, rpc_bias=False))
    assert refined(hill_scene(two("affine")), config).notes["blocks"]["dsm"]["loss"]["steps"] == 6


def test_holes_are_filled_and_said():
    start = np.full((SIDE, SIDE), BASE, np.float32)
    start[20:30, 20:30] = np.nan
    start[:, :2] = np.nan
    prediction = refined(hill_scene({"a": affine_camera(-0.3), "b": affine_camera(0.3)}, start=start), FEW)
    assert np.isfinite(prediction.dsm.heights).all()
    assert (prediction.provenance[20:30, 20:30] == 1).all()  # both views see them
    assert (prediction.layers["photo_consistency"] >= 0).all() and (prediction.layers["photo_consistency"] <= 1).all()


def test_held_out_views_judge_before_and_after():
    cameras = {"a": affine_camera(-0.3), "b": affine_camera(0.3), "c": affine_camera(0.0, 0.25)}
    prediction = refined(hill_scene(cameras), replace(CONFIG, held_out_views=("c",)))
    facts = prediction.notes["held_out"]["c"]
    assert prediction.notes["views"] == ["a", "b"] and sorted(facts["sources"]) == ["a", "b"]
    assert facts["pixels"] > 1000
    assert facts["after"]["correlation"] > facts["before"]["correlation"] + 0.02
    assert facts["after"]["psnr"] > facts["before"]["psnr"] + 3


def test_curves_are_written(tmp_path):
    prediction = refined(hill_scene(two("affine")), replace(FEW, outputs=("mesh",)), scratch=tmp_path)
    lines = (prediction.files["log"] / "dsm.csv").read_text().splitlines()
    assert lines[0] == "step,stage,total,lr,patch,colour,smooth,prior" and len(lines) == 7
    assert prediction.files["mesh"].stat().st_size > 10_000


# --- which mode, and what cannot run --------------------------------------------------------------------------------


def test_the_mode_follows_the_cameras():
    auto = replace(CONFIG, mode="auto")
    assert refines_dsm(hill_scene(two("rpc")), auto) and refines_dsm(hill_scene(two("affine")), auto)
    assert not refines_dsm(hill_scene(two("pinhole")), auto) and refines_dsm(hill_scene(two("pinhole")), CONFIG)
    mixed = {**two("pinhole"), "sat": affine_camera(0.1)}
    assert not refines_dsm(hill_scene(mixed), auto) and not refines_dsm(replace(hill_scene(two("rpc")), dsm=None), auto)


def elsewhere(camera):
    return replace(camera, origin=camera.origin + np.array([5000.0, 0, 0]))


@pytest.mark.parametrize(
    ("scene", "config", "kind", "text"),
    [
        (lambda: replace(hill_scene(two("rpc")), dsm=None), CONFIG, UnsupportedError, "no initial DSM"),
        (
            lambda: replace(hill_scene(two("rpc")), dsm=None),
            replace(CONFIG, mode="auto"),
            UnsupportedError,
            "0 of 2 views with a pinhole camera.*give one with dsm",
        ),
        (
            lambda: hill_scene({"a": affine_camera(0.1), "b": elsewhere(affine_camera(0.3))}),
            CONFIG,
            UnsupportedError,
            "1 of 2 views see the DSM",
        ),
        (
            lambda: hill_scene({"a": affine_camera(0.1), "b": affine_camera(0.1)}),
            CONFIG,
            UnsupportedError,
            "under an angle",
        ),
        (lambda: hill_scene(two("affine")), replace(CONFIG, views=("x",)), InputError, "names x"),
        (lambda: hill_scene(two("affine")), replace(CONFIG, held_out_views=("left",)), InputError, "leaves 1 of 2"),
    ],
)
def test_what_cannot_run_is_said(scene, config, kind, text):
    with pytest.raises(kind, match=text):
        refined(scene(), config)


@pytest.mark.parametrize(
    "values",
    [{"steps": -1}, {"lr": 0}, {"patch": 0}, {"patch_size": 4}, {"halo": 200}, {"sources": 0}, {"smooth": -1}],
)
def test_senseless_settings_are_refused(values):
    with pytest.raises(ValueError, match="dsm:"):
        DsmConfig(**values)


def test_a_block_without_heights_stays_so():
    start = np.full((SIDE, SIDE), BASE, np.float32)
    start[:, 26:] = np.nan
    config = replace(FEW, dsm=replace(FEW.dsm, block=32, halo=4))
    prediction = refined(hill_scene(two("affine"), start=start), config)
    blocks = prediction.notes["blocks"]
    assert any("no height" in one.get("skipped", "") for one in blocks.values())
    unknown = np.isnan(prediction.dsm.heights)
    assert unknown[:, -4:].all() and not unknown[:, :26].any() and (prediction.provenance[unknown] == 0).all()
