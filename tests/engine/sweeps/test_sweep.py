import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from run_refbench import ONE_THREAD, refbench, start

from refbench.api import results_frame
from refbench.engine.job.result import Status, result_schema
from refbench.engine.sweeps.check import sweep_faults
from refbench.engine.sweeps.finished import read_sweep
from refbench.engine.sweeps.run import FAILURES, SweepState

HERE = Path(__file__).parent
CUT = "scenes: [{cut: {scene: embedded, size_m: 16}}]\n"
TIMES = {"created", "cost", "phases", "log_tail"}


def variables(tmp_path):
    return {"REFBENCH_PLUGINS": str(HERE / "sweep_plugin.py"), "REFBENCH_TEST_PIDS": str(tmp_path / "pids")}


@pytest.fixture
def suite(tmp_path):
    def write(methods, rest="", scenes=CUT):
        path = tmp_path / "mine.yaml"
        path.write_text(f"refbench_suite: 1\nname: mine\nmethods: {methods}\n{scenes}{rest}")
        return path

    return write


def begin(tmp_path, *arguments):
    """Start it in a process of its own, to be killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return start(tmp_path, "bench", *arguments, environment=ONE_THREAD | variables(tmp_path), **pipes)


def bench(tmp_path, *arguments, code=0):
    return refbench(tmp_path, "bench", *arguments, code=code, **variables(tmp_path))


def rows(out):
    """Return job id -> result, each checked against the schema."""
    found = {}
    for path in sorted(out.glob("jobs/*/result.json")):
        found[path.parent.name] = json.loads(path.read_text())
        jsonschema.validate(found[path.parent.name], result_schema())
        assert "metrics" in found[path.parent.name]
    return found


def timeless(out):
    """Return every row as bytes, but for times, and the DSMs."""
    found = {}
    for name, result in rows(out).items():
        kept = {key: value for key, value in result.items() if key not in TIMES}
        # The commit of refbench itself may change while this test runs; the key holds the hash of its code.
        kept["manifest"] = {key: value for key, value in result["manifest"].items() if key != "refbench"}
        dsm = out / "jobs" / name / "dsm.tif"
        key = json.loads((out / "jobs" / name / "key.json").read_text())["key"]
        text = json.dumps(kept, sort_keys=True).replace(str(out), "SWEEP")  # warnings name files of made scenes
        found[name] = (text, key, dsm.read_bytes() if dsm.exists() else None)
    return found


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has reaped is not alive.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pids, within=300.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def wait_for(condition, within=300.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def jobs_of(out):
    """Return the ids of processes that run a job of ``out``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"refbench.engine.job.worker" in words and any(str(out).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def test_every_way_to_end_is_a_row(tmp_path, suite):
    methods = (
        "[shift, raising, killing, exiting, wrong-grid, all-nan, integers, integer-tiles, forking, lying, "
        "weightless, lonely, viewing, nosuch]"
    )
    path = suite(methods, "budgets: {threads: 1}\n")
    output = bench(tmp_path, path, "--out", "out", "--workers", 2, code=1)
    found = {name.partition("--")[0]: row for name, row in rows(tmp_path / "out").items()}
    ends = {
        "shift": ("ok", ""),
        "raising": ("failed", "the roof <b>is</b> on fire"),
        "killing": ("crashed", "SIGKILL"),
        "exiting": ("crashed", "code 7"),
        "wrong-grid": ("failed", "another grid"),
        "all-nan": ("failed", "no valid height"),
        "integers": ("failed", "float32"),
        "integer-tiles": ("ok", ""),
        "forking": ("ok", ""),
        "lying": ("crashed", "unreadable"),
        "weightless": ("skipped", "has no weights"),
        "lonely": ("skipped", "no_such_module"),
        "viewing": ("ok", ""),
        "nosuch": ("skipped", "nosuch"),
    }
    assert {name: row["status"] for name, row in found.items()} == {name: status for name, (status, _) in ends.items()}
    for name, (status, words) in ends.items():
        assert words in (found[name]["reason"] or ""), name
        assert found[name]["scene"] == "embedded-16m"
        if status != "ok":
            assert found[name]["metrics"] is None and found[name]["metrics_reason"]
            assert f"{name}--embedded-16m--seed0: {status}: " in output
    assert any("RuntimeError" in line for line in found["raising"]["log_tail"])
    assert gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])
    assert "refbench table out" in output and "out/report.html" in output and "out/table.md" in output
    assert not list((tmp_path / "out" / "jobs").glob("*.partial-*"))


def test_a_job_above_the_memory_cap_is_a_row(tmp_path, suite):
    path = suite("[growing, arrays]", "budgets: {memory_cap: 1200MB, threads: 1}\n")
    bench(tmp_path, path, "--out", "out", "--workers", 2, code=1)
    found = {name.partition("--")[0]: row for name, row in rows(tmp_path / "out").items()}
    assert {name: row["status"] for name, row in found.items()} == {"growing": "oom", "arrays": "oom"}
    assert "MemoryError" in found["growing"]["reason"] and "allocate" in found["arrays"]["reason"]


def test_a_hang_that_ignores_being_asked_ends_at_the_deadline(tmp_path, suite):
    output = bench(tmp_path, suite("[hanging]", "budgets: {deadline_s: 2}\n"), "--out", "out", code=1)
    (row,) = rows(tmp_path / "out").values()
    assert row["status"] == "timeout" and "deadline of 2 s" in row["reason"] and "timeout" in output


@pytest.mark.slow
def test_resume_runs_only_what_is_missing_or_stale(tmp_path, suite):
    out = tmp_path / "out"
    path = suite("[input, shift, weightless]")
    bench(tmp_path, path, "--out", out, "--resume")  # nothing is there: it starts
    assert {"suite.yaml", "manifest.json", "jobs", "scenes"} <= {entry.name for entry in out.iterdir()}
    request = json.loads((out / "jobs" / "shift--embedded-16m--seed0" / "request.json").read_text())
    assert request["method"] == "shift" and request["out"].endswith("shift--embedded-16m--seed0")
    before = {name: row["created"] for name, row in rows(out).items()}
    stamps = {entry: (entry / "result.json").stat().st_mtime_ns for entry in (out / "jobs").iterdir()}

    def ran():
        now = {entry: (entry / "result.json").stat().st_mtime_ns for entry in (out / "jobs").iterdir()}
        changed = {entry.name.partition("--")[0] for entry in now if now[entry] != stamps.get(entry)}
        stamps.update(now)
        return changed

    assert "already holds a sweep" in bench(tmp_path, path, "--out", out, code=2)
    bench(tmp_path, path, "--out", out, "--resume")
    assert ran() == set() and len(before) == 3
    bench(
        tmp_path,
        suite("[input, {method: shift, set: {metres: 2}, label: shift}, weightless]"),
        "--out",
        out,
        "--resume",
    )
    assert ran() == {"shift"}
    (out / "jobs" / "input--embedded-16m--seed0" / "result.json").write_text("{")  # damaged
    bench(tmp_path, suite("[input, raising, weightless]"), "--out", out, "--resume", code=1)
    assert ran() == {"input", "raising"}
    output = bench(tmp_path, suite("[input, raising, weightless]"), "--out", out, "--resume", code=1)
    assert ran() == set() and "such as shift--embedded-16m--seed0" in output
    bench(tmp_path, suite("[input, raising, weightless]"), "--out", out, "--retry", "timeout", code=1)
    assert ran() == set()
    bench(tmp_path, suite("[input, raising, weightless]"), "--out", out, "--retry", "failed", code=1)
    assert ran() == {"raising"}
    bench(tmp_path, suite("[input, raising, weightless]"), "--out", out, "--resume", "--only", "input")
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("name: mine", "name: other"))
    assert "holds a sweep of suite mine" in bench(tmp_path, other, "--out", out, "--resume", code=2)
    assert "holds other files" in bench(tmp_path, path, "--out", tmp_path, code=2)


def test_two_sweeps_do_not_share_a_folder(tmp_path, suite):
    path = suite("[hanging]", "budgets: {deadline_s: 400}\n")
    first = begin(tmp_path, path, "--out", "out")
    try:
        wait_for(lambda: jobs_of(tmp_path / "out"))
        assert "Another refbench bench works in" in bench(tmp_path, path, "--out", "out", "--resume", code=2)
    finally:
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=400)
    assert first.returncode == 130


def test_ctrl_c_keeps_finished_rows_and_leaves_no_process(tmp_path, suite):
    out = tmp_path / "out"
    process = begin(tmp_path, suite("[input, shift, spinning, noisy]"), "--out", out)
    wait_for(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 130 and "Traceback" not in error, error
    assert {name.partition("--")[0] for name in rows(out)} == {"input", "shift"}
    assert {entry.name.partition("--")[0] for entry in (out / "jobs").iterdir()} == {"input", "shift"}
    assert gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])


def test_kill_9_of_the_harness_kills_the_job_and_what_it_started(tmp_path, suite):
    out = tmp_path / "out"
    process = begin(tmp_path, suite("[input, spinning]"), "--out", out)
    wait_for(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 3)
    process.kill()
    process.communicate(timeout=400)
    assert gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])
    assert {name.partition("--")[0] for name in rows(out)} >= {"input"}


def kill_and_resume(tmp_path, path, times, seed):
    """Compare an undisturbed sweep with ones that are killed, so many times in all, at moments drawn at random."""
    started = time.monotonic()
    begin(tmp_path, path, "--out", "calm", "--workers", 2).communicate(timeout=400)
    length = time.monotonic() - started
    out, draw, kills = tmp_path / "wild", random.Random(seed), 0
    finished = set()
    while kills < times:
        process = begin(tmp_path, path, "--out", out, "--workers", 2, "--resume")
        try:
            process.wait(timeout=draw.uniform(0.05, 0.6 * length))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate(timeout=400)
        assert gone(jobs_of(out))
        complete = {p.parent.name for p in out.glob("jobs/*/result.json") if ".partial-" not in p.parent.name}
        assert finished <= complete, "a finished row was lost"
        finished = complete
        if len(finished) == len(rows(tmp_path / "calm")):  # the next kill needs a new sweep
            bench(tmp_path, path, "--out", out, "--resume", code=1)
            assert timeless(out) == timeless(tmp_path / "calm")
            out, finished = tmp_path / f"wild{len(list(tmp_path.iterdir()))}", set()
    bench(tmp_path, path, "--out", out, "--workers", 2, "--resume", code=1)
    assert timeless(out) == timeless(tmp_path / "calm")


@pytest.mark.slow
def test_a_killed_sweep_ends_as_an_undisturbed_one(tmp_path, suite):
    path = suite("[noisy, raising, weightless]", "seeds: [0, 1]\n")
    kill_and_resume(tmp_path, path, times=3, seed=1)


@pytest.mark.slow
def test_a_sweep_killed_at_twenty_moments_ends_as_an_undisturbed_one(tmp_path, suite):
    path = suite("[input, shift, noisy, raising, weightless, fill, median]", "seeds: [0, 1, 2]\n")
    kill_and_resume(tmp_path, path, times=20, seed=2)


def test_dry_run_lists_the_jobs_and_writes_nothing(tmp_path, suite):
    path = suite("[input, weightless]")
    output = bench(tmp_path, path, "--out", "out", "--dry-run")
    assert "input--embedded-16m--seed0" in output and "skipped: weightless has no weights" in output
    assert not (tmp_path / "out").exists()


def test_a_foreign_suite_with_a_program_needs_trust_and_then_runs_it(tmp_path, suite):
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    path = suite("[{method: shift, env: ./python}]")
    for extra in ((), ("--dry-run",)):
        assert "--trust" in bench(tmp_path, path, "--out", "out", *extra, code=2)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()
    bench(tmp_path, path, "--out", "out", "--trust")
    assert (tmp_path / "ran").exists() and rows(tmp_path / "out")["shift--embedded-16m--seed0"]["status"] == "ok"


def test_failures_are_told_from_jobs_that_did_not_apply():
    assert {Status.FAILED, Status.TIMEOUT, Status.OOM, Status.CRASHED} == FAILURES


def test_the_live_view_shows_what_runs_and_how_long():
    from rich.console import Console

    from refbench.cli.bench import live_view

    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    state = SweepState(3, 10, 1, {"a--[b]--seed0": ("refine", 0.5)}, 75.0, "scene x")
    console.print(live_view("tiny", state))
    text = console.export_text()
    assert "3 of 10 jobs (1 were there), about 1 min 15 s left" in text and "a--[b]--seed0: refine 50 %" in text


def test_a_sweep_of_an_older_refbench_is_read_and_resumed(tmp_path, suite):
    path, out = suite("[input, shift]"), tmp_path / "out"
    bench(tmp_path, path, "--out", out)
    before = timeless(out)
    (out / "jobs").rename(out / "cells")  # where they lay before
    for request in out.glob("cells/*/request.json"):
        request.write_text(request.read_text().replace("/jobs/", "/cells/"))
    assert [job.label for job in read_sweep(out)] == ["input", "shift"]
    assert {job.request().folder.parent.name for job in read_sweep(out)} == {"cells"}
    assert not list(sweep_faults(out)) and len(results_frame(out)) > 4
    bench(tmp_path, path, "--out", out, "--resume")
    assert not (out / "cells").exists()
    assert timeless(out) == before  # nothing has run again
