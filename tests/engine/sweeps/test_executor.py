"""Executors: any that fulfils the protocol runs a sweep, to the same rows."""

import json
import multiprocessing
import pickle
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace

import pytest

from refbench.contracts.errors import CancelledError
from refbench.engine.job.launch import run_job
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Status
from refbench.engine.sweeps.executor import LocalProcesses
from refbench.engine.sweeps.run import run_sweep
from refbench.engine.sweeps.suite import load_suite

SUITE = """
refbench_suite: 1
name: mine
methods: [input, fill]
scenes: [{cut: {scene: embedded, size_m: 16}}]
"""
TIMES = {"created", "cost", "phases", "manifest", "log_tail"}


class OtherProcesses:
    """An executor as somebody else would write it: a pool of processes that requests and results travel to and from."""

    slots = 2

    def __init__(self):
        self.pool = ProcessPoolExecutor(self.slots, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, request, progress=None):
        return self.pool.submit(run_job, request)

    def close(self, *, cancel):
        self.pool.shutdown(cancel_futures=cancel)


class LosingNodes(OtherProcesses):
    """Whoever takes the job is never heard of again."""

    def submit(self, request, progress=None):
        future = Future()
        future.set_exception(ConnectionError("the node went away"))
        return future


def suite(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    return load_suite(path)


def rows(folder):
    found = {}
    for path in folder.glob("jobs/*/result.json"):
        result = json.loads(path.read_text().replace(str(folder), "SWEEP"))  # warnings name files of made scenes
        found[path.parent.name] = {key: value for key, value in result.items() if key not in TIMES}
        assert (path.parent / "key.json").is_file() and (path.parent / "request.json").is_file()
    assert found
    return found


def test_a_request_and_a_result_pickle():
    request = JobRequest("median", SceneRequest("/a"), "/b", overrides={"size": 3}, assessors=("x",))
    assert pickle.loads(pickle.dumps(request)) == request


def test_another_executor_ends_in_the_same_rows(tmp_path):
    run_sweep(suite(tmp_path), tmp_path / "here")
    found = run_sweep(suite(tmp_path), tmp_path / "there", executor=OtherProcesses())
    assert {job.label: result.status for job, result in found.items()} == {"input": Status.OK, "fill": Status.OK}
    assert rows(tmp_path / "there") == rows(tmp_path / "here")


def test_what_an_executor_loses_is_a_row_and_runs_again_on_demand(tmp_path):
    found = run_sweep(suite(tmp_path), tmp_path / "out", executor=LosingNodes())
    assert {result.status for result in found.values()} == {Status.CRASHED}
    assert all("the node went away" in result.reason for result in found.values())
    again = run_sweep(suite(tmp_path), tmp_path / "out", resume=True, retry=[Status.CRASHED])
    assert {result.status for result in again.values()} == {Status.OK}


def test_closing_with_cancel_ends_what_runs_and_what_waits(tmp_path, monkeypatch):
    monkeypatch.setenv("REFBENCH_PLUGINS", str(tmp_path / "sleeper.py"))
    (tmp_path / "sleeper.py").write_text(
        "import time\nfrom refbench import Gives, MethodRecord, Need, hookimpl\n"
        "class Sleeper:\n"
        "    def __init__(self, config, weights): pass\n"
        "    def refine(self, scene, context):\n"
        "        context.report(1.0, 'asleep')\n"
        "        time.sleep(600)\n"
        "@hookimpl\ndef refbench_methods():\n"
        "    return [MethodRecord('sleeper', 'sleeper:Sleeper', 'x', (Need.DSM,), (Gives.DSM,))]\n"
    )
    asleep = Future()
    executor = LocalProcesses()
    request = JobRequest("sleeper", SceneRequest(), str(tmp_path / "first"))
    first = executor.submit(
        request, lambda phase, fraction: phase == "refine" and fraction and asleep.set_result(fraction)
    )
    second = executor.submit(replace(request, out=str(tmp_path / "second")))
    try:
        assert asleep.result(300) == 1.0
    finally:
        executor.close(cancel=True)
    with pytest.raises(CancelledError):
        first.result(0)
    assert second.cancelled()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "__pycache__") == []
