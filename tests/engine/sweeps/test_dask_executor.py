"""Jobs on Dask: the rows and checksums of this machine's processes, also where a worker is killed in the middle."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from run_refbench import refbench

from refbench import InputError
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Status
from refbench.engine.sweeps.executor_choice import ExecutorChoice
from refbench.engine.sweeps.run import run_sweep
from refbench.engine.sweeps.suite import load_suite

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'refbench[dask]'")
pytest.importorskip("dask")

from refbench.engine.sweeps.dask_executor import DaskExecutor  # noqa: E402  # where Dask is

SUITE = """
refbench_suite: 1
name: mine
methods: [input, waiting]
scenes: [{cut: {scene: embedded, size_m: 16}}, {cut: {scene: embedded, size_m: 20}}]
"""
TIMES = {"created", "cost", "phases", "manifest", "log_tail"}
# Waits for a file that tells it to go on, and says who waits: nothing depends on seconds.
WAITING = """
import os
import time
from pathlib import Path
from refbench import Gives, MethodRecord, Need, Prediction, hookimpl
GATE = Path(os.environ["REFBENCH_TEST_GATE"])
class Waiting:
    def __init__(self, config, weights): pass
    def refine(self, scene, context):
        (GATE / f"waits-{os.getpid()}-{scene.id}").touch()
        while not (GATE / "go").exists():
            time.sleep(0.02)
        return Prediction(scene.dsm.read())
@hookimpl
def refbench_methods():
    return [MethodRecord('waiting', 'waiting:Waiting', 'x', (Need.DSM,), (Gives.DSM,))]
"""


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """Return the folder in which the waiting jobs sign in, and bring their plugin."""
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "gate").mkdir()
    monkeypatch.setenv("REFBENCH_PLUGINS", str(tmp_path / "waiting.py"))
    monkeypatch.setenv("REFBENCH_TEST_GATE", str(tmp_path / "gate"))
    from refbench.registry.registry import load_registry

    load_registry.cache_clear()
    yield tmp_path / "gate"
    load_registry.cache_clear()


def rows(folder):
    found = {}
    for path in folder.glob("jobs/*/result.json"):
        result = json.loads(path.read_text().replace(str(folder), "SWEEP"))
        found[path.parent.name] = {key: value for key, value in result.items() if key not in TIMES}
        assert (path.parent / "key.json").is_file() and (path.parent / "request.json").is_file()
    return found


def suite(tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    return load_suite(tmp_path / "mine.yaml")


def waits(gate, count):
    end = time.monotonic() + 300
    while len(found := sorted(gate.glob("waits-*"))) < count:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def held_here():
    """On a worker: how many jobs it runs now."""
    from refbench.engine.sweeps.dask_executor import _running

    return sum(map(len, _running.values()))


@pytest.mark.slow
def test_a_killed_worker_changes_no_row_and_no_checksum(tmp_path, gate):
    executor = DaskExecutor.started(3)
    pids = executor._client.run(os.getpid)
    assert len(pids) == 3
    done = {}
    sweep = threading.Thread(
        target=lambda: done.update(run_sweep(suite(tmp_path), tmp_path / "dask", executor=executor)), daemon=True
    )
    sweep.start()
    # Both waiting jobs have begun; the worker of one dies, and its job with it.
    waits(gate, 2)
    victim = next(address for address, held in executor._client.run(held_here).items() if held)
    os.kill(pids[victim], signal.SIGKILL)
    waits(gate, 3)  # begun once more, by another process
    (gate / "go").touch()
    sweep.join(300)
    assert {result.status for result in done.values()} == {Status.OK} and len(done) == 4
    run_sweep(suite(tmp_path), tmp_path / "local")
    assert rows(tmp_path / "dask") == rows(tmp_path / "local")
    assert not [*(tmp_path / "dask" / "jobs").glob("*.partial-*")]


def test_a_job_above_a_workers_memory_ends_alone(tmp_path, gate, monkeypatch):
    plugins = os.pathsep.join([os.environ["REFBENCH_PLUGINS"], str(Path(__file__).with_name("sweep_plugin.py"))])
    monkeypatch.setenv("REFBENCH_PLUGINS", plugins)
    (gate / "go").touch()
    executor = DaskExecutor.started(1, 1 << 30)
    scene = {"scene": SceneRequest()}
    ended = [
        executor.submit(JobRequest(method, out=str(tmp_path / method), **scene)).result(300)
        for method in ("growing", "waiting")
    ]
    executor.close(cancel=False)
    # The worker lives on and takes the next job.
    assert [result.status for result in ended] == [Status.OOM, Status.OK]
    assert json.loads((tmp_path / "growing" / "result.json").read_text())["status"] == "oom"


def test_closing_with_cancel_ends_running_jobs_on_a_foreign_cluster(tmp_path, gate):
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = ExecutorChoice("dask", scheduler=cluster.scheduler_address).make()
        future = executor.submit(JobRequest("waiting", SceneRequest(), str(tmp_path / "out")))
        pid = int(waits(gate, 1)[0].name.split("-")[1])
        executor.close(cancel=True)
        assert future.done() and not (tmp_path / "out").exists()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_a_scheduler_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("refbench.engine.sweeps.dask_executor.CONNECT_S", 1.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        said = refbench(tmp_path, "bench", "tiny", "--out", "out", "--scheduler", address, code=2)
    assert said.count("\n") == 1 and f"The Dask scheduler {address} cannot be reached" in said
    said = refbench(tmp_path, "bench", "tiny", "--out", "out", "--scheduler", "nonsense://x", code=2)
    assert "cannot be reached" in said and not (tmp_path / "out").exists()


def test_a_scheduler_without_workers_says_how_to_start_some(monkeypatch):
    monkeypatch.setattr("refbench.engine.sweeps.dask_executor.CONNECT_S", 1.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster, pytest.raises(InputError) as error:
        DaskExecutor.connected(cluster.scheduler_address)
    assert f"has no workers; start some with: dask worker {cluster.scheduler_address}" in str(error.value)


def test_options_of_dask_alone_are_refused_elsewhere(tmp_path):
    said = refbench(tmp_path, "bench", "tiny", "--out", "out", "--executor", "local", "--worker-memory", "1GB", code=2)
    assert "--worker-memory is for --executor dask" in said
