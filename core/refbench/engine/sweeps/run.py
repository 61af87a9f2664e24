"""Running a suite: every job on its own, every end a row, nothing finished is ever lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError, InputError
from refbench.engine.job.launch import run_job
from refbench.engine.job.result import Status
from refbench.engine.sweeps.jobs import plan_jobs
from refbench.engine.sweeps.store import discard, finished, sweep_folder, unplanned, write_key, write_row
from refbench.engine.sweeps.suite import check_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from refbench.engine.job.result import Result
    from refbench.engine.sweeps.jobs import PlannedJob
    from refbench.engine.sweeps.suite import Suite

FAILURES = frozenset({Status.FAILED, Status.TIMEOUT, Status.OOM, Status.CRASHED})
"""Ends that are failures: skipped and unsupported jobs are none."""


@dataclass(frozen=True, slots=True)
class SweepState:
    """How far a sweep is. ``running``: job id -> (phase, share in [0, 1]); ``seconds_left`` None until one ended."""

    done: int = 0
    total: int = 0
    kept: int = 0
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    seconds_left: float | None = None
    note: str = ""


def run_sweep(
    suite: Suite,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    only: Sequence[str] = (),
    retry: Collection[Status] = (),
    trust: bool = False,
    progress: Callable[[SweepState], None] = lambda state: None,
) -> dict[PlannedJob, Result]:
    """Run the jobs of a suite, each in a process of its own, and return every one's result, in the suite's order.

    Parameters
    ----------
    suite
        What to run.
    out
        Folder of the sweep: ``suite.yaml``, ``manifest.json``, ``scenes/`` and ``jobs/<id>/result.json``, with
        ``key.json`` and ``request.json`` beside.
    workers
        How many jobs run at once.
    resume
        Continue a sweep: jobs whose key is the same are kept. A folder that is not there is started.
    only
        Patterns of jobs, see ``plan_rows``; the others are left as they are.
    retry
        Jobs that ended so are run again.
    trust
        Allow a suite from elsewhere to name interpreters.
    progress
        Told about every change, from several threads, one at a time.

    Raises
    ------
    InputError
        See ``plan_jobs`` and ``sweep_folder``; nothing has run then.
    KeyboardInterrupt
        Ctrl-C: running jobs are killed, finished rows stay.
    """
    check_trust(suite, trust)
    with sweep_folder(out.absolute(), suite, resume) as folder:
        jobs = plan_jobs(suite, folder, only, note=lambda text: progress(SweepState(note=text)))
        stray = [] if only else unplanned(folder, jobs)
        note = f"{len(stray)} jobs there are not of this suite, such as {stray[0]}" if stray else ""
        return _Sweep(jobs, retry, progress, note).run(workers)


class _Sweep:
    """The state that the workers share."""

    def __init__(
        self,
        jobs: tuple[PlannedJob, ...],
        retry: Collection[Status],
        progress: Callable[[SweepState], None],
        note: str,
    ) -> None:
        self._jobs, self._progress, self._note = jobs, progress, note
        kept = {job.id: result for job in jobs if (result := finished(job)) and result.status not in retry}
        self._results: dict[str, Result] = kept
        self._kept = len(kept)
        self._running: dict[str, tuple[str, float]] = {}
        self._seconds: list[float] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._workers = 1

    def run(self, workers: int) -> dict[PlannedJob, Result]:
        """Run what is not finished with so many workers."""
        self._workers = workers
        self._tell()
        todo = [job for job in self._jobs if job.id not in self._results]
        with ThreadPoolExecutor(max_workers=workers) as pool:
            futures = [pool.submit(self._one, job) for job in todo]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return {job: self._results[job.id] for job in self._jobs}

    def _one(self, job: PlannedJob) -> None:
        """Bring one job to its end; only trouble with the sweep's own folder is raised."""
        if self._stop.is_set():
            return
        started = time.monotonic()
        self._change(job, "start", 0.0)
        try:
            result = self._result(job)
        finally:
            with self._lock:
                self._running.pop(job.id, None)
        with self._lock:
            self._results[job.id] = result
            if job.ending is None:
                self._seconds.append(time.monotonic() - started)
        self._tell()

    def _result(self, job: PlannedJob) -> Result:
        if job.ending is not None:
            return write_row(job, *job.ending)
        discard(job.request.folder)

        def finish(folder: Path, result: Result) -> None:
            result.scene = job.scene
            write_key(folder, job)

        try:
            return run_job(
                job.request,
                progress=lambda phase, share, message: self._change(job, phase, share),
                finish=finish,
                is_cancelled=self._stop.is_set,
            )
        except CancelledError:
            raise
        except InputError as error:
            return write_row(job, Status.FAILED, str(error))
        except (ValueError, TypeError, KeyError) as error:
            text = " ".join(str(error).split())
            return write_row(job, Status.CRASHED, f"Its process left something unreadable: {text}")

    def _change(self, job: PlannedJob, phase: str, share: float) -> None:
        with self._lock:
            self._running[job.id] = (phase, share)
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            left = len(self._jobs) - len(self._results)
            mean = sum(self._seconds) / len(self._seconds) if self._seconds else None
            seconds = None if mean is None else mean * left / self._workers
            state = SweepState(
                len(self._results), len(self._jobs), self._kept, dict(self._running), seconds, self._note
            )
            self._progress(state)
