"""What the protocol of a suite does to scores: one shift for all, quality checks; and scores besides the DSM's."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_refbench import answer

from refbench.contracts.grid import Window
from refbench.contracts.raster import DSM
from refbench.evaluation.shift import Shift, shifted
from refbench.formats.raster import ArraySource
from refbench.geometry.warp import warp_dsm
from refbench.scenes.cut import cut_scene
from refbench.scenes.scene_yaml import embedded_scene_path, load_scene
from refbench.scenes.write import write_scene

HERE = Path(__file__).parent
MOVED = Shift(0.7, -0.4, 2.0, 0, 0, 0.0, 0.0)


def refbench(*arguments, code=0, plugins=()):
    run = answer(None, *arguments, REFBENCH_PLUGINS=os.pathsep.join(map(str, plugins)))
    assert run.returncode == code, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A cut of the embedded scene whose reference lies half a pixel off and two metres higher."""
    whole = cut_scene(load_scene(embedded_scene_path()), Window(20, 30, 128, 128), "moved")
    reference = whole.reference.dsm.read()
    moved = warp_dsm(shifted(reference, MOVED), whole.grid)
    rough = np.random.default_rng(5).normal(0, 0.2, reference.grid.shape).astype(np.float32)
    initial = ArraySource(DSM(reference.heights + rough, reference.grid))
    folder = tmp_path_factory.mktemp("protocol") / "moved"
    bare = replace(whole, points=None, views={}, orthos={}, pairs=(), reference=replace(whole.reference, depths={}))
    reference = replace(bare.reference, dsm=ArraySource(moved))
    write_scene(folder, replace(bare, id="moved", dsm=initial, reference=reference))
    return folder


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory, scene):
    out = tmp_path_factory.mktemp("sweeps")
    for name in ("none", "initial-once"):
        suite = out / f"{name}.yaml"
        suite.write_text(
            f"refbench_suite: 1\nname: {name}\nmethods: [input, median]\nscenes: [{scene}]\n"
            f"protocol: {{coregister: {name}}}\nassessors: {{footprints: {{mask: {scene / 'mask_building.tif'}}}}}\n"
            if name == "none"
            else f"refbench_suite: 1\nname: {name}\nmethods: [input, median]\nscenes: [{scene}]\n"
            f"protocol: {{coregister: {name}}}\n"
        )
        refbench("bench", suite, "--out", out / f"out-{name}")
    return out


def results(folder):
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("jobs/*/result.json"))]
    return {result["method"]: result for result in found}


def test_every_dsm_is_moved_by_the_one_shift_of_the_initial_one(sweeps):
    plain, moved = (results(sweeps / f"out-{name}") for name in ("none", "initial-once"))
    shifts = [result["metrics"]["coregistration"] for result in moved.values()]
    assert shifts[0] == shifts[1]
    assert (shifts[0]["east_m"], shifts[0]["north_m"]) == pytest.approx((MOVED.east_m, MOVED.north_m), abs=0.03)
    assert shifts[0]["up_m"] == pytest.approx(MOVED.up_m, abs=0.05)
    for name in ("input", "median"):
        before, after = (of[name]["metrics"]["refined"]["all"] for of in (plain, moved))
        assert after["mae"] < 0.3 * before["mae"]
        assert "initial-once" in moved[name]["metrics"]["refined"]["notes"]["coregistration"]
        assert plain[name]["metrics"]["refined"]["notes"]["coregistration"] == "none"


def test_tables_compare_the_moved_dsms_and_say_so(sweeps):
    document = json.loads(refbench("table", sweeps / "out-initial-once", "--format", "json"))
    text = json.dumps(document)
    assert "moved by +0." in text
    assert "No DSM was coregistered" not in text
    comparison = next((sweeps / "out-initial-once" / "comparison").glob("*.json"))
    found = json.loads(comparison.read_text())
    job = results(sweeps / "out-initial-once")["median"]["metrics"]["refined"]["all"]["mae"]
    assert found["methods"]["median"]["own"]["all"]["mae"] == pytest.approx(job, rel=0.02)
    assert "No DSM was coregistered" in refbench("table", sweeps / "out-none", "--format", "md")


def test_a_suite_passes_assessors_on(sweeps):
    assessed = results(sweeps / "out-none")["median"]
    assert assessed["metrics"]["refined"]["assessors"]["footprints"]["sod_mae"] == pytest.approx(0, abs=1e-6)
    assert "Assessor footprints" in refbench("table", sweeps / "out-none", "--format", "md")


def test_the_resampling_kernel_of_a_suite_is_the_one_that_scores(tmp_path, scene):
    results_by = {}
    for kernel in ("bilinear", "gdal_cubic"):
        suite = tmp_path / f"{kernel}.yaml"
        suite.write_text(
            f"refbench_suite: 1\nname: {kernel}\nmethods: [median]\nscenes: [{scene}]\n"
            f"protocol: {{coregister: initial-once, resampling: {kernel}}}\n"
        )
        refbench("bench", suite, "--out", tmp_path / kernel)
        text = refbench("table", tmp_path / kernel, "--format", "md").replace("\\", "")
        assert f"reference's: {kernel}" in text
        results_by[kernel] = results(tmp_path / kernel)["median"]["metrics"]["refined"]
    assert results_by["bilinear"]["all"]["mae"] != results_by["gdal_cubic"]["all"]["mae"]
    assert results_by["gdal_cubic"]["notes"]["resampling"].startswith("gdal_cubic")


def test_a_suite_with_an_unknown_assessor_does_not_start(tmp_path, scene):
    suite = tmp_path / "mine.yaml"
    suite.write_text(f"refbench_suite: 1\nname: mine\nmethods: [input]\nscenes: [{scene}]\nassessors: [footprint]\n")
    refbench("bench", suite, "--out", tmp_path / "out", code=2)
    assert not list((tmp_path / "out").glob("jobs/*"))


def test_depth_maps_and_views_are_scored_where_there_is_no_dsm(tmp_path):
    plugin = HERE / "scored_views_plugin.py"
    refbench("run", "--method", "lifted-views", "--out", tmp_path / "run", plugins=[plugin])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (tmp_path / "run" / result["outputs"]["track"]).read_text() == "kept"
    depth, initial = result["metrics"]["depth"], result["metrics"]["depth_input"]
    assert set(depth) == {"uav_1", "uav_2"}
    for name in depth:
        assert depth[name]["rmse"] != initial[name]["rmse"]
    scores = result["metrics"]["views"]["uav_1"]
    assert scores["psnr_db"] == pytest.approx(20, abs=1.5)  # off by 0.1 wherever it is not clipped
    rows = result["metrics"]["views"]["uav_1"]["coverage"]
    assert 0.8 < rows < 1


def test_a_sweep_of_views_has_tables_of_its_own(tmp_path):
    suite = tmp_path / "views.yaml"
    suite.write_text("refbench_suite: 1\nname: views\nmethods: [input, lifted-views]\nscenes: [embedded]\n")
    plugin = HERE / "scored_views_plugin.py"
    refbench("bench", suite, "--out", tmp_path / "out", plugins=[plugin])
    text = refbench("table", tmp_path / "out", "--format", "md", plugins=[plugin])
    assert "Depth maps" in text
    assert "Rendered views" in text
    assert "initial depth" in text
