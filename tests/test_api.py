import json
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from run_refbench import refbench as command_line

import refbench
from refbench.contracts.errors import InputError
from refbench.engine.job.migrate import CURRENT, STEPS, migrated
from refbench.engine.job.result import RESULT_FILE, Status, read_result
from refbench.python_words import python_words

SUITE = """
refbench_suite: 1
name: api
methods: [input, median]
scenes: [{cut: {scene: embedded, size_m: 40}}]
budgets: {deadline_s: 60, threads: 1}
"""
VERSION_1 = """{
 "schema_version": 1, "refbench_version": "0.1.0", "method": "median", "scene": "city-1031", "seed": 0, "status": "ok",
 "reason": null, "log_tail": [], "config": {"size": 3}, "config_source": "median", "weights": null,
 "metrics": {"refined": {"all": {"mae": 1.26, "n": 46161}}, "input": null}, "metrics_reason": null,
 "phases": [{"name": "refine", "wall_s": 0.1, "cpu_s": 0.1}],
 "cost": {"wall_s": 1.1, "cpu_s": 1.0, "peak_memory_bytes": 183500800, "pixels": null},
 "hashes": {"inputs": {"dsm.tif": "ab"}, "weights": {}, "outputs": {}, "config": "cd"}, "bridges": [], "warnings": [],
 "notes": {}, "outputs": {}, "created": "2026-11-20T20:00:00+00:00", "manifest": {}
}"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    (folder / "suite.yaml").write_text(SUITE)
    return refbench.bench(folder / "suite.yaml", folder / "out")


def test_a_run_from_python_is_the_run_of_the_shell(tmp_path):
    result = refbench.run(method="median", out=tmp_path / "a", threads=1)
    assert result.status is Status.OK and result.notes["folder"] == str(tmp_path / "a")
    command_line(tmp_path, "run", "--method", "median", "--out", tmp_path / "b", "--threads", 1, "--no-report")
    assert result.metrics == read_result(tmp_path / "b" / RESULT_FILE).metrics
    with pytest.raises(InputError, match="already holds a result"):
        refbench.run(method="median", out=tmp_path / "a")
    assert refbench.run(method="median").notes["folder"] != result.notes["folder"]


def test_configuration_values_are_keywords(tmp_path):
    wide = refbench.run(method="median", out=tmp_path / "a", size=7)
    assert wide.config["size"] == 7
    with pytest.raises(InputError, match="sise"):
        refbench.run(method="median", out=tmp_path / "b", sise=7)


def test_what_is_no_scene_is_refused():
    with pytest.raises(InputError, match="scene must be the folder"):
        refbench.run(np.zeros((3, 3)), method="median")
    with pytest.raises(InputError, match="not both"):
        refbench.run("scene", method="median", files={"dsm": "a.tif"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"files": {"dms": "d.tif"}}, r"files: unknown name 'dms'; did you mean 'dsm'"),
        ({"files": {"orthos": "a.tif"}}, r"files\['orthos'\] must be a list of paths"),
        ({"files": {"gsd": 1.0}}, r"files\['gsd'\] is for plain files"),
        ({"files": {"orthos": 3}}, r"files\['orthos'\] must be a list of paths, got 3"),
        ({"files": 3}, r"^files must be a mapping"),
        ({"seed": "a"}, r"^seed must be a whole number from 0 on, got 'a'"),
        ({"threads": 0}, r"^threads must be a whole number from 1 on"),
        ({"deadline_s": -1}, r"^deadline_s must be a positive number"),
        ({"out": 3}, r"^out must be a path, got 3"),
        ({"device": 3}, r"^device must be text"),
        ({"no_bridges": "images-to-orthos"}, r"^no_bridges must be a list of names"),
        ({"sise": 3}, r"^configuration values \(keywords\): unknown key sise"),
        ({"weights": "mine"}, r"^weights mine: there is no such file"),
        ({"config": "absent"}, r"no configuration file absent"),
        ({"scene": "absent"}, r"absent"),
        ({"files": {"dsm": "absent.tif"}}, r"absent\.tif"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_bad_input_is_told_in_python_before_anything_is_written(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match=words) as caught:
        refbench.run(method="median", **arguments)
    assert "--" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_bench_names_its_wrong_arguments_too(tmp_path):
    for arguments, words in (((3, tmp_path), "^suite must be a path"), (("tiny", 3), "^out must be a path")):
        with pytest.raises(InputError, match=words):
            refbench.bench(*arguments)
    with pytest.raises(InputError, match=r"^workers must be a whole number"):
        refbench.bench("tiny", tmp_path / "out", workers="two")
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_is_told_in_python(tmp_path, sweep):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(InputError, match=r"out .* already holds a result; give another folder or overwrite=True"):
        refbench.run(method="median", out=tmp_path)
    with pytest.raises(InputError, match=r"already holds a sweep; continue it with resume=True"):
        refbench.bench(sweep.folder.parent / "suite.yaml", sweep.folder)


def test_options_without_an_argument_keep_their_spelling():
    assert python_words("give --set values.path=float or --no-report") == "give values__path=float or --no-report"


def test_frames_are_tidy(sweep):
    frame = sweep.frame()
    assert set(frame["label"]) == {"input", "median"} and set(frame["domain"]) == {"common", "own"}
    rows = frame.query("label == 'median' and surface == 'refined' and domain == 'common' and stratum == 'all'")
    assert len(rows) == 1
    result = next(result for cell, result in sweep.results.items() if cell.startswith("median"))
    assert rows["mae"].item() == result.metrics["refined"]["all"]["mae"]
    assert (frame["cpu_s"] > 0).all() and not frame.duplicated(
        ["label", "scene", "seed", "surface", "domain", "stratum"]
    ).any()
    assert len(refbench.results_frame(sweep.folder / "jobs" / next(iter(sweep.results)))) > 5


def test_frames_need_results(tmp_path):
    with pytest.raises(InputError, match="neither a sweep nor a result"):
        refbench.results_frame(tmp_path)


def test_importing_refbench_stays_light():
    script = "import sys, refbench; print({'numpy', 'pandas', 'torch', 'rasterio', 'pydantic'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


# --- versions and validation ----------------------------------------------------------------------------------------


def test_a_result_of_version_1_is_read(tmp_path):
    (tmp_path / RESULT_FILE).write_text(VERSION_1)
    result = read_result(tmp_path / RESULT_FILE)
    assert (
        result.schema_version == CURRENT and result.cost.cpu_s == 1.0 and result.metrics["refined"]["all"]["n"] == 46161
    )
    assert "is valid" in command_line(tmp_path, "validate", tmp_path)


def test_every_version_has_a_step():
    assert sorted(STEPS) == list(range(1, CURRENT))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": CURRENT + 1}, "newer refbench"),
        ({"schema_version": None}, "no schema_version"),
        ({"schema_version": True}, "no schema_version"),
    ],
)
def test_versions_that_cannot_be_read_are_said(change, words):
    with pytest.raises(InputError, match=words):
        migrated({**json.loads(VERSION_1), **change}, "result.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 2, "method": 3}'])
def test_what_is_no_result_is_refused(tmp_path, text):
    (tmp_path / RESULT_FILE).write_text(text)
    said = command_line(tmp_path, "validate", tmp_path, code=2)
    assert "is no result" in said and "Traceback" not in said


def test_a_sweep_is_checked_file_by_file(sweep, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(sweep.folder, copy)
    assert "2 jobs, 2 ok" in command_line(tmp_path, "validate", copy)
    cell = next(path for path in (copy / "jobs").iterdir() if path.name.startswith("median"))
    (cell / "dsm.tif").write_bytes((cell / "dsm.tif").read_bytes() + b"x")
    assert "was changed since" in command_line(tmp_path, "validate", copy, code=2)
    (cell / "dsm.tif").unlink()
    (cell / "request.json").write_text("{")
    said = command_line(tmp_path, "validate", copy, code=2)
    assert "dsm.tif is missing" in said and "request.json cannot be read" in said
