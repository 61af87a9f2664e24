import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from makers import grid_of, write_tif
from run_refbench import answer

from refbench.engine.job.result import result_schema
from refbench.engine.scoring.assess import options_of

HERE = Path(__file__).parent
PLUGINS = os.pathsep.join(str(HERE / name) for name in ("run_plugin.py", "assessor_plugin.py"))
EVERY = ("--assessor", "heights", "--assessor", "refusing", "--assessor", "broken")


def refbench(folder, *arguments, code=0):
    done = answer(folder, *arguments, REFBENCH_PLUGINS=PLUGINS)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done


def raster(path, values, dtype="float32", nodata=-9999.0):
    values = np.asarray(values, dtype)
    return write_tif(path, values, grid_of(*values.shape, gsd=1.0), nodata)


@pytest.fixture
def files(tmp_path):
    reference = np.tile(np.arange(20.0), (16, 1))
    initial = reference + 1
    initial[0] = -9999
    return {
        "dsm": raster(tmp_path / "dsm.tif", initial),
        "reference": raster(tmp_path / "reference.tif", reference),
        "building": raster(tmp_path / "building.tif", reference > 10, "uint8", None),
    }


def test_evaluate_shows_what_assessors_find_and_warns_of_those_that_fail(tmp_path, files):
    mask = f"building={files['building']}"
    common = ("evaluate", files["dsm"], files["reference"], "--mask", mask, *EVERY)
    options = ("--option", "all=1", "--option", "heights.own=2", "--option", "broken.own=3")
    found = json.loads(refbench(tmp_path, *common, *options, "--json").stdout)
    expected = {"mean": 10.5, "known": 300, "truth": 1, "masks": 1, "none": None, "option_all": 1, "option_own": 2}
    assert found["assessors"] == {"heights": expected}
    texts = "\n".join(found["warnings"])
    assert "Assessor refusing: Give me a better DSM." in texts and "the ruler is bent" in texts
    shown = refbench(tmp_path, *common)
    assert "10.5" in shown.stdout and "the ruler is bent" in shown.stderr
    plain = json.loads(refbench(tmp_path, "evaluate", files["dsm"], files["reference"], "--json").stdout)
    assert "assessors" not in plain


def test_a_run_holds_them_for_input_and_refined_on_common_pixels(tmp_path, files):
    given = ("--dsm", files["dsm"], "--reference", files["reference"], "--mask", f"building={files['building']}")
    done = refbench(tmp_path, "run", "--method", "fine", *given, *EVERY, "--option", "k=4", "--out", "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(result, result_schema())
    assert result["status"] == "ok" and result["metrics"]["refined"]["all"]["mae"] == pytest.approx(1)
    expected = {"mean": 10.5, "known": 300, "truth": 1, "masks": 1, "none": None, "option_k": 4}
    for which in ("input", "refined"):
        assert result["metrics"][which]["assessors"] == {"heights": expected}
    assert sum("the ruler is bent" in text for text in result["warnings"]) == 1
    assert "10.5" in done.stdout and "Looks: heights." in done.stdout
    assert (tmp_path / "out" / "report.html").exists()


def test_a_run_without_reference_is_assessed_and_not_scored(tmp_path, files):
    done = refbench(tmp_path, "run", "--method", "fine", "--dsm", files["dsm"], "--assessor", "heights", "--out", "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(result, result_schema())
    refined = result["metrics"]["refined"]
    assert list(refined) == ["assessors"] and refined["assessors"]["heights"]["truth"] == 0
    assert result["metrics_reason"] == "The scene has no reference DSM." and "DSM not scored" in done.stdout
    assert (tmp_path / "out" / "report.html").exists()


def test_when_every_assessor_fails_there_are_no_metrics(tmp_path, files):
    refbench(tmp_path, "run", "--method", "fine", "--dsm", files["dsm"], "--assessor", "broken", "--out", "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["status"] == "ok" and result["metrics"] is None
    assert any("the ruler is bent" in text for text in result["warnings"])


@pytest.mark.parametrize("verb", ["run", "evaluate"])
def test_an_unknown_assessor_is_bad_input(tmp_path, files, verb):
    given = (files["dsm"], files["reference"]) if verb == "evaluate" else ("--method", "fine", "--dsm", files["dsm"])
    done = refbench(tmp_path, verb, *given, "--assessor", "hights", code=2)
    assert "heights" in done.stderr and not (tmp_path / "refbench-runs").exists()


def test_options_for_one_win_over_those_for_all():
    options = {"k": 1, "a.k": 2, "b.k": 3, "c.k": 4}
    assert options_of("a", ("a", "b"), options) == {"k": 2, "c.k": 4}
    assert options_of("b", ("a", "b"), options) == {"k": 3, "c.k": 4}
