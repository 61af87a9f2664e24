"""Running a suite: every job on its own, every end a row, nothing finished is ever lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError, InputError
from refbench.engine.job.remains import REASON_LIMIT, bounded
from refbench.engine.job.result import Status
from refbench.engine.sweeps.executor import LocalProcesses
from refbench.engine.sweeps.jobs import SCENES_FOLDER, plan_jobs
from refbench.engine.sweeps.made_scenes import SceneGuard
from refbench.engine.sweeps.store import discard, finished, put_row, staging_folder, sweep_folder, unplanned, write_row
from refbench.engine.sweeps.suite import check_trust
from refbench.files.terminable import terminable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from concurrent.futures import Future

    from refbench.engine.job.result import Result
    from refbench.engine.sweeps.executor import Executor
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
    executor: Executor | None = None,
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
        How many jobs run at once, where no executor is given.
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
    executor
        Where the jobs run; None takes processes of this machine. It is closed at the end.

    Raises
    ------
    InputError
        See ``plan_jobs`` and ``sweep_folder``; nothing has run then.
    KeyboardInterrupt
        Ctrl-C: running jobs are killed, finished rows stay.
    """
    check_trust(suite, trust)
    with terminable(), sweep_folder(out.absolute(), suite, resume) as folder:
        jobs = plan_jobs(suite, folder, only, note=lambda text: progress(SweepState(note=text)))
        stray = [] if only else unplanned(folder, jobs)
        note = f"{len(stray)} jobs there are not of this suite, such as {stray[0]}" if stray else ""
        return _Sweep(jobs, retry, progress, note, SceneGuard(folder / SCENES_FOLDER)).run(
            executor or LocalProcesses(workers)
        )


class _Sweep:
    """The state of a sweep: what is finished, what runs."""

    def __init__(
        self,
        jobs: tuple[PlannedJob, ...],
        retry: Collection[Status],
        progress: Callable[[SweepState], None],
        note: str,
        scenes: SceneGuard,
    ) -> None:
        self._jobs, self._progress, self._note, self._scenes = jobs, progress, note, scenes
        kept = {job.id: result for job in jobs if (result := finished(job)) and result.status not in retry}
        self._results: dict[str, Result] = kept
        self._kept = len(kept)
        self._running: dict[str, tuple[str, float]] = {}
        self._seconds: list[float] = []
        self._lock = threading.Lock()
        self._slots = 1
        self._again, self._alone = set[str](), set[str]()

    def run(self, executor: Executor) -> dict[PlannedJob, Result]:
        """Run what is not finished; no more than the executor's slots are under way at once."""
        self._slots = executor.slots
        todo = [job for job in self._jobs if job.id not in self._results]
        under_way: dict[Future[Result], tuple[PlannedJob, float]] = {}
        is_whole = False
        self._tell()
        try:
            while todo or under_way:
                # A stale result stays until its job starts: an interrupted sweep keeps the rows it did not reach.
                while todo and self._may_start(todo[0], len(under_way)):
                    self._start(todo.pop(0), executor, under_way)
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    job, started = under_way.pop(future)
                    others = [other for other, _ in under_way.values()]
                    if (result := self._checked(job, _ended(job, future), others)) is None:
                        todo.insert(0, job)
                    else:
                        self._take(job, result, time.monotonic() - started)
            is_whole = True
        finally:
            executor.close(cancel=not is_whole)
        return {job: self._results[job.id] for job in self._jobs}

    def _start(
        self, job: PlannedJob, executor: Executor, under_way: dict[Future[Result], tuple[PlannedJob, float]]
    ) -> None:
        """Submit a job, or write its row where it cannot run."""
        if job.ending is not None:
            self._take(job, write_row(job, *job.ending), None)
            return
        discard(job.request.folder)
        self._change(job, "start", 0.0)
        request = replace(job.request, out=str(staging_folder(job)))
        future = executor.submit(request, lambda phase, fraction: self._change(job, phase, fraction))
        under_way[future] = job, time.monotonic()

    def _may_start(self, job: PlannedJob, under_way: int) -> bool:
        """Return whether a slot is free for a job; one that has to be alone waits until nothing else runs."""
        if self._alone & self._running.keys():
            return False
        return under_way < self._slots and (under_way == 0 or job.id not in self._alone)

    def _checked(self, job: PlannedJob, result: Result, others: Sequence[PlannedJob]) -> Result | None:
        """Return the row of a job that has ended; a crashed one where it changed the made scene that it ran on.

        None where another job on the same scene may have done that: each of them runs again, alone.
        """
        path = job.request.scene.path
        suspects = [other for other in others if other.request.scene.path == path]
        damage = None if path is None else self._scenes.damage(Path(path))
        if damage is not None:
            self._again |= {other.id for other in suspects}
        if job.id in self._again or (damage is not None and suspects):
            self._again.discard(job.id)
            self._alone.add(job.id)
            with self._lock:
                self._running.pop(job.id, None)
            return None
        return result if damage is None else write_row(job, Status.CRASHED, damage)

    def _take(self, job: PlannedJob, result: Result, seconds: float | None) -> None:
        """Note that a job has ended."""
        self._alone.discard(job.id)
        with self._lock:
            self._running.pop(job.id, None)
            self._results[job.id] = result
            if seconds is not None:
                self._seconds.append(seconds)
        self._tell()

    def _change(self, job: PlannedJob, phase: str, share: float) -> None:
        with self._lock:
            if job.id in self._results:  # what an executor tells late
                return
            self._running[job.id] = (phase, share)
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            left = len(self._jobs) - len(self._results)
            mean = sum(self._seconds) / len(self._seconds) if self._seconds else None
            seconds = None if mean is None else mean * left / self._slots
            state = SweepState(
                len(self._results), len(self._jobs), self._kept, dict(self._running), seconds, self._note
            )
            self._progress(state)


def _ended(job: PlannedJob, future: Future[Result]) -> Result:
    """Return the row of a job that has ended, with its key beside; whatever went wrong is a row, too.

    Only trouble with the sweep's own folder is raised.
    """
    try:
        result = future.result()
    except InputError as error:
        return write_row(job, Status.FAILED, str(error))
    except CancelledError:
        raise
    except Exception as error:
        text = bounded(" ".join(f"{type(error).__name__}: {error}".split()), REASON_LIMIT)
        return write_row(job, Status.CRASHED, f"Its executor could not bring it to an end: {text}")
    put_row(job, staging_folder(job), result)
    return result
