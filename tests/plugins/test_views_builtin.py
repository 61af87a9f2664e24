"""What the built-in methods on views do for a newcomer: the embedded scene, a few steps each, from the command line."""

import json

import pytest
from run_refbench import refbench

pytest.importorskip("torch")


def run(folder, method, *options):
    refbench(None, "run", "--method", method, "--out", folder, "--no-report", *options)
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_immpi_shows_a_held_out_view_better_than_the_baseline(tmp_path):
    result = run(tmp_path / "out", "immpi", "--set", "optimise.steps=4")
    (scores,) = result["notes"]["views"].values()
    assert scores["immpi"]["psnr_db"] > scores["baseline"]["psnr_db"] + 2
    assert result["metrics"]["refined"]["all"]["mae"] < 8
    assert set(result["metrics"]["depth"]) == {f"uav_{n}" for n in range(1, 9)}
    assert result["weights"].endswith("small")


@pytest.mark.slow
def test_depth_refinement_beats_its_input(tmp_path):
    result = run(tmp_path / "out", "diffrender", "--set", "steps=25", "--set", "lr=2e-3")
    before, after = (result["metrics"][name]["all"] for name in ("input", "refined"))
    assert after["nmad"] < 0.9 * before["nmad"]
    assert after["mae"] < before["mae"]
    depth, start = (result["metrics"][name] for name in ("depth", "depth_input"))
    assert sum(depth[view]["rmse"] for view in depth) < sum(start[view]["rmse"] for view in depth)


@pytest.mark.slow
def test_two_satellite_views_refine_the_dsm_itself(tmp_path):
    result = run(
        tmp_path / "out", "diffrender", "--set", "mode=dsm", "--set", "views=[sat_a,sat_b]", "--set", "dsm.steps=25"
    )
    before, after = (result["metrics"][name]["all"] for name in ("input", "refined"))
    assert after["nmad"] < 0.95 * before["nmad"] and after["mae"] < 0.97 * before["mae"]
    assert after["completeness_valid"] == 1 and result["notes"]["views"] == ["sat_a", "sat_b"]
    depth, start = (result["metrics"][name] for name in ("depth", "depth_input"))
    assert sum(depth[view]["rmse"] for view in depth) < sum(start[view]["rmse"] for view in depth)
