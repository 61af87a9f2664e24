"""DSM mode as a method: whole runs, blocks, resuming, holes, and what cannot run."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dsm_runs import CONFIG, FEW, error, refined  # noqa: E402
from hill_scene import BASE, CAMERAS, GRID, SIDE, affine_camera, hill, hill_scene, two  # noqa: E402

from refbench import DSM, InputError  # noqa: E402
from refbench.contracts.errors import CancelledError, UnsupportedError  # noqa: E402
from refbench.geometry.nodata_fill import inside  # noqa: E402
from refbench_diffrender.dsm_config import DsmConfig  # noqa: E402
from refbench_diffrender.dsm_mode.dsm_mode import DsmMode, refines_dsm  # noqa: E402

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


def test_held_out_views_score_before_and_after():
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
            "0 of 2 views with a pinhole camera.*give one with --dsm",
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
