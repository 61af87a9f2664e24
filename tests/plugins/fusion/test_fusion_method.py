"""The fusion runs other methods as they would run alone, and joins what they give; real methods, real jobs."""

import json

import numpy as np
from makers import dsm_of, grid_of
from run_refbench import refbench

from refbench.formats.raster import open_dsm
from refbench.formats.raster_write import write_dsm

MEMBERS = "members=[median, bilateral, diffrender]"


def scene(folder):
    write_dsm(folder / "dsm.tif", dsm_of(grid_of(), holes=True))
    return "--dsm", folder / "dsm.tif"


def heights(path):
    return open_dsm(path).read().heights


def test_the_members_run_as_they_would_alone(tmp_path):
    files = scene(tmp_path)
    options = ("--set", MEMBERS, "--set", "agree_m=0.2", "--set", "options={median: {size: 3}}", "--no-report")
    refbench(tmp_path, "run", *files, "--method", "fusion", *options, "--out", "joint")
    refbench(tmp_path, "run", *files, "--method", "median", "--set", "size=3", "--out", "median", "--no-report")
    refbench(tmp_path, "run", *files, "--method", "bilateral", "--out", "bilateral", "--no-report")
    median, bilateral = (heights(tmp_path / name / "dsm.tif") for name in ("median", "bilateral"))
    agrees = np.abs(bilateral - median) <= 0.2
    # Neither states a standard deviation, so both count alike.
    expected = np.where(agrees, (median.astype(np.float64) + bilateral) / 2, median)
    np.testing.assert_allclose(heights(tmp_path / "joint" / "dsm.tif"), expected, atol=1e-4)
    assert 0.1 < agrees.mean() < 0.99
    result = json.loads((tmp_path / "joint" / "result.json").read_text())
    assert result["outputs"].keys() >= {"dsm", "confidence", "members_agreeing"}
    assert set(result["notes"]["members"]) == {"median", "bilateral"}
    assert (
        "one view" in result["notes"]["left_out"]["diffrender"] or "views" in result["notes"]["left_out"]["diffrender"]
    )


def test_the_weights_of_the_members_are_in_the_result(tmp_path):
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid_of(96, 96)))
    refbench(tmp_path, "run", "--dsm", "dsm.tif", "--method", "fusion", "--out", "out", "--no-report")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    member = result["notes"]["members"]["resdepth"]
    assert member["weights"]["hashes"]["model.safetensors"] and member["states_sigma"]
    assert "diffrender" in result["notes"]["left_out"]


def test_no_member_that_can_run_is_unsupported(tmp_path):
    files = scene(tmp_path)
    said = refbench(
        tmp_path, "run", *files, "--method", "fusion", "--set", "members=[diffrender, immpi]", "--out", "out", code=3
    )
    assert "None of the fusion's members" in said and "diffrender" in said and "immpi" in said


def test_an_unknown_member_is_bad_input(tmp_path):
    files = scene(tmp_path)
    said = refbench(tmp_path, "run", *files, "--method", "fusion", "--set", "members=[mediann]", "--out", "out", code=2)
    assert "mediann" in said and "median" in said and not (tmp_path / "out").exists()


def test_a_dry_run_adds_the_costs_of_the_members(tmp_path):
    files = scene(tmp_path)

    def seconds(method, *options):
        said = refbench(tmp_path, "run", *files, "--method", method, *options, "--dry-run")
        return float(said.split(" s of CPU")[0].split()[-1])

    both = seconds("fusion", "--set", "members=[median, tv-l1]")
    assert both >= max(seconds("median"), seconds("tv-l1"))
