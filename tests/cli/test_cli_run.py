import json
import os
import pickle
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import rasterio
from makers import grid_of, write_tif
from rasterio.crs import CRS
from run_refbench import ONE_THREAD, answer, command, start

from refbench.engine.job.result import result_schema
from refbench.scenes.scene_yaml import embedded_scene_path

HERE = Path(__file__).parent
SCENE = embedded_scene_path()
PLUGIN = HERE / "run_plugin.py"
ENVIRONMENT = {**ONE_THREAD, "REFBENCH_PLUGINS": str(PLUGIN)}


def run(folder, *arguments, code=0, **variables):
    done = answer(folder, "run", *arguments, REFBENCH_PLUGINS=PLUGIN, **variables)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def result_in(folder):
    return json.loads((folder / "result.json").read_text())


def raster(path, values, *, crs="EPSG:32632", gsd=1.0, west=500_000.0, **profile):
    """Write values [rows, cols] or [bands, rows, cols] as float32."""
    values = np.asarray(values, np.float32)
    grid = grid_of(*values.shape[-2:], gsd, west, 5_000_100, None if crs is None else CRS.from_user_input(crs))
    return write_tif(path, values, grid, **profile)


@pytest.fixture
def dsm(tmp_path):
    rng = np.random.default_rng(0)
    return raster(tmp_path / "dsm.tif", 100 + rng.random((40, 50)), nodata=-9999)


def test_the_default_scene_is_refined_scored_and_reported(tmp_path):
    done = run(tmp_path, "--method", "fine", REFBENCH_TEST_EVENTS=str(tmp_path / "events"))
    folder = tmp_path / "refbench-runs" / "0001-fine"
    result = result_in(folder)
    jsonschema.validate(result, result_schema())
    assert result["status"] == "ok" and "all is fine" in done.stdout and str(folder) in done.stdout.replace("\n", "")
    refined, initial = result["metrics"]["refined"]["all"], result["metrics"]["input"]["all"]
    assert refined["mae"] == pytest.approx(initial["mae"]) and 0 < refined["completeness_valid"] <= 1
    assert set(result["metrics"]["own_domain"]) == {"input", "refined"}
    assert result["cost"]["peak_memory_bytes"] > 1e7 and {p["name"] for p in result["phases"]} >= {"refine", "evaluate"}
    assert "reference.tif" in result["hashes"]["inputs"] and len(result["hashes"]["outputs"]["dsm.tif"]) == 64
    assert result["manifest"]["refbench"].keys() >= {"version", "commit", "dirty"}
    with rasterio.open(folder / "dsm.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and file.dtypes == ("float32",)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/webp") == 5 and "fine on" in page  # three surfaces, two errors
    events = (tmp_path / "events").read_text().split("\n")
    assert events[0] == "run_started " and "phase_ended refine" in events and events[-2].startswith("run_ended")
    run(tmp_path, "--method", "fine", "--no-report")
    assert not (tmp_path / "refbench-runs" / "0002-fine" / "report.html").exists()


@pytest.mark.parametrize(
    ("method", "arguments", "code", "status", "reason"),
    [
        ("failing", (), 1, "failed", "the roof is on fire"),
        ("crashing", (), 1, "crashed", "SIGSEGV"),
        ("hungry", ("--memory-cap", "6GB"), 1, "oom", "allocate"),
        ("skipped", (), 3, "skipped", "skipped has no weights here; give some as --weights FOLDER"),
        ("missing", (), 3, "skipped", "no_such_package"),
    ],
)
def test_every_other_end_is_a_typed_result(tmp_path, dsm, method, arguments, code, status, reason):
    run(tmp_path, "--method", method, "--dsm", dsm, "--out", tmp_path / "out", *arguments, code=code)
    result = result_in(tmp_path / "out")
    jsonschema.validate(result, result_schema())
    assert result["status"] == status and reason in result["reason"]
    assert result["metrics"] is None and status in result["metrics_reason"]
    if method == "failing":
        assert any("RuntimeError" in line for line in result["log_tail"])


def test_what_no_bridge_can_make_is_unsupported(tmp_path, dsm):
    run(tmp_path, "--method", "unsupported", "--dsm", dsm, "--out", "out", code=3)
    result = result_in(tmp_path / "out")
    assert result["status"] == "unsupported" and "ndvi" in result["reason"]


def alive(pid):
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pid):
    end = time.monotonic() + 300
    while time.monotonic() < end and alive(pid):
        time.sleep(0.1)
    return not alive(pid)


def test_a_hang_ends_at_the_deadline_with_all_its_children(tmp_path, dsm):
    for deadline in (4, 16, 64):  # on a busy machine the job may not have begun at the first
        run(tmp_path, "--method", "hanging", "--dsm", dsm, "--out", f"out{deadline}", "--timeout", deadline, code=1)
        result = result_in(tmp_path / f"out{deadline}")
        assert result["status"] == "timeout" and f"{deadline} s" in result["reason"]
        grandchildren = [line for line in result["log_tail"] if line.startswith("grandchild")]
        if grandchildren:
            break
    (line,) = grandchildren
    assert gone(int(line.split()[1]))


def test_an_interrupt_leaves_no_orphan_and_no_folder(tmp_path, dsm):
    words = ("run", "--method", "hanging", "--dsm", dsm, "--out", tmp_path / "out")
    process = start(tmp_path, *words, environment=ENVIRONMENT)
    end = time.monotonic() + 300
    text = ""
    while "grandchild" not in text and time.monotonic() < end:
        time.sleep(0.1)
        text = "".join(log.read_text() for log in tmp_path.glob("out.partial-*/log.txt"))
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert gone(int(text.split("grandchild ")[1].split()[0]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dsm.tif"]


def test_a_result_is_overwritten_only_on_demand_and_only_by_a_whole_one(tmp_path, dsm):
    run(tmp_path, "--method", "fine", "--dsm", dsm, "--out", "out")
    before = (tmp_path / "out" / "result.json").read_bytes()
    done = run(tmp_path, "--method", "fine", "--dsm", dsm, "--out", "out", code=2)
    assert "--overwrite" in done.stderr
    done = run(tmp_path, "--method", "failing", "--dsm", dsm, "--out", "out", "--overwrite", code=1)
    assert "was kept" in done.stdout
    assert (tmp_path / "out" / "result.json").read_bytes() == before
    run(tmp_path, "--method", "fine", "--dsm", dsm, "--out", "out", "--overwrite")
    assert (tmp_path / "out" / "result.json").read_bytes() != before
    assert not list(tmp_path.glob("out.*"))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("dear")
    run(tmp_path, "--method", "fine", "--dsm", dsm, "--out", "foreign", "--overwrite", code=2)
    assert (tmp_path / "foreign" / "letter.txt").read_text() == "dear"


@pytest.fixture(scope="module")
def bad_inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    heights = 100 + np.random.default_rng(1).random((40, 50))
    good = raster(folder / "good.tif", heights)
    torn = folder / "torn.tif"
    torn.write_bytes(good.read_bytes()[:300])
    cloud = folder / "empty.npz"
    np.savez(cloud, xyz=np.empty((0, 3)))
    one = folder / "one.npz"
    np.savez(one, xyz=np.array([[500_001.0, 5_000_099.0, 3.0]]))
    config = folder / "config.yaml"
    config.write_text("sise: 3\n")
    ill = folder / "ill.yaml"
    ill.write_text("size: three\n")
    evil = folder / "evil.pt"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {folder / 'pwned'}",)

    evil.write_bytes(pickle.dumps({"model": Evil()}))
    ortho = raster(folder / "ortho.tif", np.ones((1, 40, 50)))
    far = raster(folder / "far.tif", np.ones((1, 40, 50)), west=800_000.3)
    elsewhere = raster(folder / "elsewhere.tif", heights, west=700_000.4)
    median = ("--method", "median")
    implicity = ("--method", "implicity", "--dsm", good)
    return folder, {
        "missing file": (*median, "--dsm", folder / "nowhere.tif"),
        "unreadable file": (*median, "--dsm", torn),
        "band count": (*median, "--dsm", raster(folder / "rgb.tif", np.ones((3, 40, 50)))),
        "reference elsewhere": (*median, "--dsm", good, "--reference", elsewhere),
        "no CRS": (*median, "--dsm", raster(folder / "bare.tif", heights, crs=None)),
        "degrees": (*median, "--dsm", raster(folder / "deg.tif", heights, crs="EPSG:4326", gsd=1e-5, west=9.0)),
        "all NoData": (*median, "--dsm", raster(folder / "void.tif", np.full((40, 50), -9999.0), nodata=-9999)),
        "unit": (*median, "--dsm", raster(folder / "ft.tif", heights, crs="EPSG:32632+5773"), "--height-unit", "foot"),
        "empty cloud": (*median, "--points", cloud, "--gsd", 1),
        "one point": (*median, "--points", one, "--gsd", 1),
        "pair": (*median, "--dsm", good, "--ortho", ortho, "--ortho", far),
        "unknown key": (*median, "--dsm", good, "--config", config),
        "ill-typed key": (*median, "--dsm", good, "--config", ill),
        "pickle": (*implicity, "--weights", evil),
        "unknown method": ("--method", "medain", "--dsm", good),
        "unknown weights": (*implicity, "--weights", "nothing-like-that"),
    }


WORDS = {
    "missing file": "nowhere.tif",
    "unreadable file": "torn.tif",
    "band count": "3",
    "reference elsewhere": "does not overlap",
    "no CRS": "CRS",
    "degrees": "EPSG:4326",
    "all NoData": "void.tif",
    "unit": "foot",
    "empty cloud": "empty.npz",
    "one point": "one.npz",
    "pair": "does not overlap",
    "unknown key": "size",
    "ill-typed key": "ill.yaml",
    "pickle": "evil.pt",
    "unknown method": "median",
    "unknown weights": "nothing-like-that",
}


@pytest.mark.parametrize("case", WORDS)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, bad_inputs, case):
    folder, arguments = bad_inputs
    before = sorted(path.name for path in folder.iterdir())
    done = run(tmp_path, *arguments[case], "--out", tmp_path / "out", code=2)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and WORDS[case] in errors[0]
    assert list(tmp_path.iterdir()) == [] and sorted(path.name for path in folder.iterdir()) == before


def test_infinities_are_counted_and_feet_converted(tmp_path):
    heights = 100 + np.random.default_rng(1).random((40, 50))
    heights[3, 4], heights[5, 6], heights[7, 8] = np.inf, 1e31, -np.inf
    path = raster(tmp_path / "feet.tif", heights)
    done = run(tmp_path, "--method", "input", "--dsm", path, "--height-unit", "foot", "--out", "out")
    warnings = " ".join(result_in(tmp_path / "out")["warnings"])
    assert "3" in warnings and "feet" in warnings.replace("foot", "feet") and "warning" in done.stdout
    with rasterio.open(tmp_path / "out" / "dsm.tif") as file:
        found = file.read(1, masked=True)
    assert found.mask.sum() == 3 and 30.4 < found.min() < found.max() < 30.9


def test_a_full_disk_leaves_the_old_result(tmp_path, dsm):
    run(tmp_path, "--method", "fine", "--dsm", dsm, "--out", "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = " ".join(command("run", "--method", "fine", "--dsm", dsm, "--out", "out", "--overwrite"))
    limited = f"ulimit -f 8; trap '' XFSZ; exec {again}"
    done = subprocess.run(["bash", "-c", limited], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert not list(tmp_path.glob("out.*"))


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path):
    done = run(tmp_path, "--method", "median", "--points", SCENE / "points.laz", "--gsd", 0.5, "--dry-run")
    assert "points to DSM" in done.stdout and "MiB" in done.stdout
    assert list(tmp_path.iterdir()) == []
