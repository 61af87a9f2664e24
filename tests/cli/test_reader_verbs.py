"""Scene files for data that are there, two runs compared, what is told and how much, names completed by the shell."""

import json
import os
import subprocess
import sys

import pytest
from run_refbench import ONE_THREAD, command, refbench

import refbench as api
from refbench.formats.raster import write_dsm
from refbench.scenes.scene_model import SceneModel
from refbench.scenes.scene_yaml import load_scene
from refbench.testing import scenes


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a scene file and two runs on it."""
    folder = tmp_path_factory.mktemp("runs")
    grid = scenes.utm_grid(96, 96)
    write_dsm(folder / "initial.tif", scenes.noisy_dsm(grid))
    write_dsm(folder / "truth.tif", scenes.surface(grid))
    refbench(folder, "scene", "new", "site", "--dsm", "initial.tif", "--reference", "truth.tif")
    refbench(folder, "run", "site", "--method", "median", "--out", "a", "--no-report")
    refbench(folder, "-q", "run", "site", "--method", "fill", "--out", "b", "--no-report")
    return folder


def test_a_new_scene_file_explains_every_key_and_loads(runs):
    text = (runs / "site" / "scene.yaml").read_text()
    assert all(f"\n{key}:" in text or f"# {key}:" in text for key in SceneModel.__dataclass_fields__)
    scene = load_scene(runs / "site")
    assert scene.id == "initial" and scene.reference is not None and scene.grid == scenes.utm_grid(96, 96)
    assert "exists" in refbench(runs, "scene", "new", "site", "--dsm", "initial.tif", code=2)
    assert "at least a DSM" in refbench(runs, "scene", "new", "other", code=2) and not (runs / "other").exists()


def test_two_runs_are_compared_on_the_same_pixels(runs):
    found = json.loads(refbench(runs, "compare", "a", "b", "--format", "json"))
    mae = next(table for table in found["tables"] if table["name"] == "change_mae")
    assert "median, fill" in json.dumps(mae) and "paired" in json.dumps(mae)


def test_a_run_is_not_compared_with_what_is_none(runs):
    assert "is a run and" in refbench(runs, "compare", "a", "site", code=2)


def test_the_log_tells_the_phases(runs):
    log = (runs / "b" / "log.txt").read_text()
    assert all(f"{phase}: ended after" in log for phase in ("open", "load", "refine", "evaluate"))


def test_quiet_tells_errors_only_and_verbose_the_phases(runs):
    done = subprocess.run(
        command("-q", "run", "site", "--method", "input", "--out", "c", "--no-report"),
        cwd=runs, env=ONE_THREAD, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == done.stderr == ""
    assert "no-such" in refbench(runs, "-q", "run", "site", "--method", "no-such", code=2)
    assert "refbench.run: input: refine" in refbench(
        runs, "-v", "run", "site", "--method", "input", "--out", "d", "--no-report"
    )


def test_results_are_short_on_the_console_and_tables_in_notebooks(runs):
    from refbench.engine.job.result import read_result

    result = read_result(runs / "a" / "result.json")
    assert repr(result).startswith("Result(median on initial, seed 0: ok, MAE ") and len(repr(result)) < 120
    assert "<table>" in result._repr_html_() and "mae" in result._repr_html_()
    assert "2 jobs, 2 ok" in repr(api.BenchResult(runs, {"a": result, "b": result}))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("refbench run --method med", "median"),
        ("refbench info tv", "tv-l1"),
        ("refbench bench ti", "tiny"),
        ("refbench run --method fill --config fill-n", "fill-nearest"),
        ("refbench run --assessor impl", "implicity-eval"),
        ("refbench check --only nodata-k", "nodata-kept"),
        ("refbench new-m", "new-method"),
    ],
)
def test_the_shell_completes_names(line, wanted):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1), "_REFBENCH_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "refbench"], env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert f"plain,{wanted}" in done.stdout.splitlines(), done.stdout + done.stderr
