"""Jobs on the workers of a ``dask.distributed`` cluster, its own or a foreign one. Nothing else in core knows Dask.

A worker runs ``run_job`` in a thread, so a job is a process of its own there, too. Every attempt works in a folder of
its own and is renamed into place at its end: an attempt that its scheduler had given up may go on without harm.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
import uuid
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import CancelledError, InputError, MissingExtraError
from refbench.engine.job.cancellation import Cancellation
from refbench.engine.job.launch import run_job
from refbench.engine.job.remains import REQUEST_FILE
from refbench.engine.job.result import RESULT_FILE, Result, read_result
from refbench.engine.sweeps.cache_key import core_code
from refbench.files.out_guard import sweep
from refbench.files.regular import remove

try:
    import dask
    import distributed
except ImportError as _error:
    raise MissingExtraError("--executor dask needs Dask: pip install 'refbench[dask]' brings it.") from _error

if TYPE_CHECKING:
    from refbench.engine.job.request import JobRequest
    from refbench.engine.sweeps.executor import Progress

CONNECT_S = 10.0
"""How long a scheduler, and then its first worker, may take to answer."""
VISIBLE_S = 30.0
"""How long a shared file system may take to show what a worker has written."""
_LOOK_EVERY_S = 0.5
_COUNT_EVERY_S = 5.0
_OWN_CLUSTER = {
    # A job that kills its worker would take others with it; how often it is tried is the dispatcher's to say.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
}
_running: dict[str, list[Cancellation]] = {}
"""On a worker: what may be cancelled, by the executor that asked for it."""
_lock = threading.Lock()


class DaskExecutor:
    """Runs jobs on the workers of a cluster, as many at once as these have threads; see ``Executor``."""

    def __init__(self, client: Any, cluster: Any, worker_memory: int | None) -> None:  # noqa: ANN401  # dask is untyped
        """Take a connected client and, where it is ours, the cluster; both are closed at the end."""
        self._client, self._cluster, self._memory = client, cluster, worker_memory
        self._token, self._numbers = uuid.uuid4().hex, itertools.count()
        self._under_way: dict[Any, Future[Result]] = {}
        self._slots, self._counted = 1, 0.0
        self._check_workers()

    @classmethod
    def connected(cls, scheduler: str, worker_memory: int | None = None) -> DaskExecutor:
        """Return an executor on a cluster that runs already.

        Parameters
        ----------
        scheduler
            Its address, such as ``tcp://10.0.0.1:8786``.
        worker_memory
            Bytes that a job may take; None: as the request says.

        Raises
        ------
        InputError
            Nobody answers, there is no worker, or the workers have other code of refbench.
        """
        try:
            client = distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            text = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"The Dask scheduler {scheduler} cannot be reached: {text}; is it running?") from error
        return cls(client, None, worker_memory)

    @classmethod
    def started(cls, workers: int, worker_memory: int | None = None) -> DaskExecutor:
        """Return an executor on a cluster of processes of this machine, started for it.

        Raises
        ------
        InputError
            It does not start.
        """
        try:
            with dask.config.set(_OWN_CLUSTER):
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, memory_limit=worker_memory or 0,
                    dashboard_address=None, silence_logs=50,
                )  # fmt: skip
            return cls(distributed.Client(cluster, timeout=CONNECT_S, set_as_default=False), cluster, worker_memory)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{workers} Dask workers cannot be started here: {error}.") from error

    def _check_workers(self) -> None:
        """Refuse a cluster whose workers cannot run this refbench's jobs."""
        where = self._client.scheduler.address
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_S)
            told = self._client.run(core_code, on_error="return")
        except (OSError, RuntimeError, ValueError) as error:
            self._close()
            raise InputError(
                f"The Dask scheduler {where} has no workers; start some with: dask worker {where}."
            ) from error
        for worker, code in told.items():
            if isinstance(code, BaseException) or code != core_code():
                self._close()
                why = (
                    f"it cannot import refbench ({code})" if isinstance(code, BaseException) else "its code is another"
                )
                raise InputError(f"The Dask worker {worker} has not this refbench: {why}; install the same there.")

    @property
    def slots(self) -> int:
        """How many threads the workers have now; workers may come and go."""
        if time.monotonic() - self._counted > _COUNT_EVERY_S:
            self._slots = max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._slots

    def submit(self, request: JobRequest, progress: Progress | None = None) -> Future[Result]:
        """Send a job to the cluster; see ``Executor``. Its progress is not followed."""
        del progress
        if self._memory is not None:
            cap = self._memory if request.memory_cap_bytes is None else min(self._memory, request.memory_cap_bytes)
            budget = min(request.memory_budget_bytes, self._memory // 2)
            request = replace(request, memory_cap_bytes=cap, memory_budget_bytes=budget)
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        sent = self._client.submit(
            run_attempt,
            request,
            self._token,
            core_code(),
            pure=False,
            key=f"refbench-{self._token}-{next(self._numbers)}",
        )
        self._under_way[sent] = future
        sent.add_done_callback(self._ended)
        return future

    def _ended(self, sent: Any) -> None:  # noqa: ANN401  # a future of dask
        """Hand the result of a task on, once its folder can be seen here."""
        if (future := self._under_way.pop(sent, None)) is None:  # the executor was closed
            return
        try:
            result, folder = sent.result()
            _await_folder(Path(folder))
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def close(self, *, cancel: bool) -> None:
        """Wait until nothing runs any more, with ``cancel`` after having ended it, and leave the cluster."""
        try:
            if cancel:
                waiting, self._under_way = self._under_way, {}
                self._client.cancel(list(waiting), force=True)
                self._client.run(_cancel, self._token, on_error="ignore")
                for future in waiting.values():
                    future.set_exception(CancelledError("The job was cancelled."))
            else:
                wait(list(self._under_way.values()))
        finally:
            self._close()

    def _close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _await_folder(folder: Path) -> None:
    """Return when a job's folder is there; a network file system may show it late.

    Raises
    ------
    InputError
        It does not appear.
    """
    end = time.monotonic() + VISIBLE_S
    while not (folder / RESULT_FILE).is_file():
        if time.monotonic() > end:
            raise InputError(
                f"A worker has written {folder}, which is not seen here; give an --out on a file system that all share."
            )
        time.sleep(_LOOK_EVERY_S)
        next(folder.parent.iterdir(), None)  # makes NFS look again


def run_attempt(request: JobRequest, token: str, core: str) -> tuple[Result, str]:
    """Run a job on a worker; return its result and its folder, which is whole then.

    Where an earlier attempt has been whole in the meantime, that one counts.

    Raises
    ------
    InputError
        Bad input, a folder that this worker does not see, or other code of refbench than the caller's.
    """
    out = request.folder
    if core_code() != core:
        raise InputError("A Dask worker has other code of refbench than the caller; install the same there.")
    if not out.parent.is_dir():
        raise InputError(
            f"A Dask worker does not see the folder {out.parent}; give an --out on a file system that all share."
        )
    attempt = out.with_name(f"{out.name}.partial-{os.getpid()}-{uuid.uuid4().hex[:12]}")
    cancellation = Cancellation()
    with _lock:
        _running.setdefault(token, []).append(cancellation)
    try:
        result = run_job(replace(request, out=str(attempt)), cancellation=cancellation)
        (attempt / REQUEST_FILE).write_text(request.to_json())
        return _in_place(attempt, out, result), str(out)
    finally:
        with _lock:
            _running[token].remove(cancellation)
        cancellation.close()
        remove(attempt)


def _in_place(attempt: Path, out: Path, result: Result) -> Result:
    """Rename an attempt's folder; return the result that counts: that of an earlier attempt which came first."""
    try:
        attempt.rename(out)
    except OSError:
        if not (out / RESULT_FILE).is_file():
            raise
        return read_result(out / RESULT_FILE)
    sweep(out)  # what dead attempts left beside it
    return result


async def _cancel(token: str) -> None:
    """On a worker: end the jobs of an executor and return when they have."""
    with _lock:
        for cancellation in _running.get(token, ()):
            cancellation.set()
    while _running.get(token):
        await asyncio.sleep(0.05)
