"""Job arrays: shards run apart and joined are the sweep that one machine would have made; what is missing is named."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from run_refbench import refbench, start

from refbench import InputError
from refbench.engine.job.parts import assigned
from refbench.engine.sweeps.check import sweep_faults
from refbench.engine.sweeps.jobs import plan_rows
from refbench.engine.sweeps.merge import merge_shards
from refbench.engine.sweeps.suite import load_suite

SUITE = """
refbench_suite: 1
name: mine
methods: [input, {method: median, label: median-5, set: {size: 5}}]
scenes: [{cut: {scene: embedded, size_m: 16}}, {cut: {scene: embedded, size_m: 20}}]
"""
TIMES = {"created", "cost", "phases", "manifest", "log_tail"}
OF = 2


def rows(folder):
    """Return job -> its result but for times, and the SHA-256 of its DSM as it lies there."""
    found = {}
    for path in sorted(folder.glob("jobs/*/result.json")):
        # Warnings name files of made scenes, wherever these lie.
        result = json.loads(re.sub(r"/[^\s\"]*/scenes/", "SWEEP/scenes/", path.read_text()))
        found[path.parent.name] = {key: value for key, value in result.items() if key not in TIMES}
        found[path.parent.name]["key"] = json.loads((path.parent / "key.json").read_text())["key"]
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with the suite, ``whole`` run by bench, and ``array``, whose shards ran at the same time."""
    folder = tmp_path_factory.mktemp("array")
    (folder / "mine.yaml").write_text(SUITE)
    # Two of one index: the second is refused while the first runs, or finds all done.
    runs = [
        start(folder, "shard", "mine.yaml", "--out", "array", "--of", OF, "--index", index, stderr=subprocess.PIPE)
        for index in (0, 1, 1)
    ]
    said = [run.communicate()[1] for run in runs]
    codes = [run.returncode for run in runs]
    assert codes[0] == 0 and sorted({codes[1], codes[2]}) in ([0], [0, 2]), said
    assert all("Another refbench bench works" in text for text, code in zip(said, codes, strict=True) if code == 2)
    refbench(folder, "bench", "mine.yaml", "--out", "whole")
    return folder


@pytest.fixture
def array(made, tmp_path):
    """Return the suite's folder with fresh copies of the shards."""
    shutil.copytree(made / "array.shards", tmp_path / "array.shards")
    shutil.copy(made / "mine.yaml", tmp_path)
    return tmp_path


def test_shards_joined_are_the_sweep_of_one_machine(made, array):
    said = refbench(array, "merge", "array")
    joined, whole = rows(array / "array"), rows(made / "whole")
    assert joined == whole and len(joined) == 4
    assert [*sweep_faults(array / "array")] == []
    # Scores with their intervals stand in the table; costs and folders differ from run to run.
    pages = [refbench(array, "table", of, "--format", "csv") for of in ("array", made / "whole")]
    first, second = (page.splitlines() for page in pages)
    assert first[0] == second[0] and len(first) == len(second)
    assert (array / "array" / "table.md").is_file() and (array / "array" / "report.html").is_file()
    assert "median-5" in said
    # The joined folder is a sweep like any other: nothing is left to run.
    said = refbench(array, "bench", "mine.yaml", "--out", "array", "--resume")
    assert "4 of 4 jobs" in said and "0 of 4 jobs" not in said


def test_a_missing_shard_is_named_with_its_jobs_and_nothing_is_written(array):
    suite = load_suite(array / "mine.yaml")
    ids = [row.id for row in plan_rows(suite)]
    lost = [name for name, part in zip(ids, assigned(ids, OF), strict=True) if part == 1]
    shutil.rmtree(array / "array.shards" / "1-of-2")
    said = refbench(array, "merge", "array", code=1)
    assert all(f"missing: {name}: shard 1 of 2 is not there" in said for name in lost)
    assert "2 of 4 jobs are missing" in said and not (array / "array").exists()
    refbench(array, "merge", "array", "--partial", code=1)
    assert set(rows(array / "array")) == set(ids) - set(lost)


def test_what_was_half_copied_counts_as_missing(array):
    path = next((array / "array.shards" / "1-of-2").glob("jobs/*/dsm.tif"))
    path.write_bytes(path.read_bytes()[:-100])
    said = refbench(array, "merge", "array", code=1)
    assert f"missing: {path.parent.name}" in said and "1 of 4 jobs" in said


def test_a_shard_goes_on_where_it_was_killed(array):
    folder = array / "array.shards" / "0-of-2"
    gone, kept = sorted(folder.glob("jobs/*"))
    shutil.rmtree(gone)
    before = (kept / "result.json").stat().st_mtime_ns
    run = start(array, "shard", "mine.yaml", "--out", "array", "--of", OF, "--index", 0)
    while not [*folder.glob("jobs/*.partial-*")]:
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    refbench(array, "shard", "mine.yaml", "--out", "array", "--of", OF, "--index", 0)
    assert sorted(path.name for path in folder.glob("jobs/*")) == [gone.name, kept.name]
    assert (kept / "result.json").stat().st_mtime_ns == before


def test_what_is_there_twice_is_equal_by_hash_or_refused(array):
    shards = array / "array.shards"
    first, second = shards / "0-of-2", shards / "1-of-2"
    job = next(path for path in sorted(first.glob("jobs/*")))
    shutil.copytree(job, second / "jobs" / job.name)
    merged = merge_shards(sorted(shards.iterdir()), array / "array")
    assert merged.repeated == (job.name,) and merged.joined == 4
    other = second / "jobs" / job.name / "result.json"
    text = json.loads(other.read_text())
    # A failed attempt gives way to the one that ended ok, whichever shard holds it.
    other.write_text(json.dumps({**text, "status": "crashed", "reason": "x", "outputs": {}}))
    assert merge_shards(sorted(shards.iterdir()), array / "array").joined == 4
    assert json.loads((array / "array" / "jobs" / job.name / "result.json").read_text())["status"] == "ok"
    (second / "jobs" / job.name / "dsm.tif").unlink()
    text["outputs"], text["hashes"]["outputs"] = {}, {"dsm.tif": "0" * 64}
    other.write_text(json.dumps(text))
    with pytest.raises(InputError, match=r"hold different dsm.tif \(by SHA-256\)"):
        merge_shards(sorted(shards.iterdir()), array / "array")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan | {"sha256": "0"}, "different suites"),
        (
            lambda plan: plan | {"jobs": [*plan["jobs"], "new--s--seed0"]},
            "planned different jobs, such as new--s--seed0",
        ),
        (lambda plan: {"index": 0}, "is no shard of a sweep"),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(array, change, said):
    plan = array / "array.shards" / "1-of-2" / "plan.json"
    plan.write_text(json.dumps(change(json.loads(plan.read_text()))))
    assert said in refbench(array, "merge", "array", code=2)


def test_shards_of_different_code_are_refused(array):
    key = next((array / "array.shards" / "1-of-2").glob("jobs/*/key.json"))
    text = json.loads(key.read_text())
    text["parts"]["core"] = "0" * 64
    key.write_text(json.dumps(text))
    assert "different versions of refbench" in refbench(array, "merge", "array", code=2)


def test_nothing_to_join_is_said(tmp_path):
    assert "not there: nothing to join" in refbench(tmp_path, "merge", "array", code=2)
    assert "There is no folder" in refbench(tmp_path, "merge", "array", "gone", code=2)


def test_a_part_that_is_none_is_refused_before_anything_is_written(tmp_path):
    said = refbench(tmp_path, "shard", "tiny", "--out", "array", "--of", 3, "--index", 3, code=2)
    assert "counted from 0 to 2" in said and not list(tmp_path.iterdir())


def test_a_dry_run_lists_the_jobs_of_each_shard(tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    listed = [
        refbench(tmp_path, "shard", "mine.yaml", "--out", "array", "--of", OF, "--index", index, "--dry-run").split()
        for index in range(OF)
    ]
    assert sorted(name for names in listed for name in names) == sorted(
        row.id for row in plan_rows(load_suite(tmp_path / "mine.yaml"))
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
