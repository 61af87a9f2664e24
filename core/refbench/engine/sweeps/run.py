"""Running a suite: every job on its own, every end a row, nothing finished is ever lost."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError, InputError
from refbench.engine.job.remains import REASON_LIMIT, bounded
from refbench.engine.job.result import Status
from refbench.engine.sweeps.dispatch import Attempts, Verdict, dispatch, is_lost
from refbench.engine.sweeps.executor import LocalProcesses
from refbench.engine.sweeps.jobs import SCENES_FOLDER, plan_jobs, plan_rows
from refbench.engine.sweeps.made_scenes import SceneGuard
from refbench.engine.sweeps.store import (
    discard,
    finished,
    put_row,
    staging_folder,
    sweep_folder,
    unplanned,
    write_plan,
    write_row,
)
from refbench.engine.sweeps.suite import check_trust
from refbench.files.regular import remove
from refbench.files.terminable import terminable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from concurrent.futures import Future

    from refbench.engine.job.parts import Part
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
    part: Part | None = None,
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
        Where the jobs run; None takes processes of this machine. It is closed at the end. A job whose worker is lost
        is given to it ``dispatch.ATTEMPTS`` times.
    part
        Run this part of the jobs that ``only`` leaves; ``plan.json`` in the folder names all of them. None: all.

    Raises
    ------
    InputError
        See ``plan_jobs`` and ``sweep_folder``; nothing has run then.
    KeyboardInterrupt
        Ctrl-C: running jobs are killed, finished rows stay.
    """
    check_trust(suite, trust)
    runner, handed_over = executor or LocalProcesses(workers), False
    try:
        with terminable(), sweep_folder(out.absolute(), suite, resume) as folder:
            rows = plan_rows(suite, only)
            if part is not None:
                names = [row.id for row in rows]
                write_plan(folder, part, suite, names)
                rows = tuple(rows[position] for position in part.take(names))
            jobs = plan_jobs(suite, folder, note=lambda text: progress(SweepState(note=text)), rows=rows)
            stray = [] if only else unplanned(folder, jobs)
            note = f"{len(stray)} jobs there are not of this suite, such as {stray[0]}" if stray else ""
            state = _Sweep(jobs, retry, progress, note, SceneGuard(folder / SCENES_FOLDER))
            handed_over = True
            return state.run(runner)
    finally:
        if not handed_over:
            runner.close(cancel=True)


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
        self._started: dict[str, float] = {}
        self._attempts = Attempts()
        self._again = set[str]()

    def run(self, executor: Executor) -> dict[PlannedJob, Result]:
        """Run what is not finished; no more than its slots are under way at once; the executor is closed at the end."""
        self._slots = executor.slots
        todo = [job for job in self._jobs if job.id not in self._results]
        is_whole = False
        self._tell()
        try:
            dispatch(
                todo, lambda job: self._start(job, executor), self._settled, slots=lambda: self._slots_of(executor)
            )
            is_whole = True
        finally:
            executor.close(cancel=not is_whole)
        return {job: self._results[job.id] for job in self._jobs}

    def _slots_of(self, executor: Executor) -> int:
        self._slots = executor.slots
        return self._slots

    def _start(self, job: PlannedJob, executor: Executor) -> Future[Result] | None:
        """Submit a job, or write its row where it cannot run."""
        if job.ending is not None:
            self._take(job, write_row(job, *job.ending), None)
            return None
        # A stale result stays until its job starts: an interrupted sweep keeps the rows it did not reach.
        discard(job.request.folder)
        remove(staging_folder(job))  # of an attempt that was lost
        self._change(job, "start", 0.0)
        self._started[job.id] = time.monotonic()
        request = replace(job.request, out=str(staging_folder(job)))
        return executor.submit(request, lambda phase, fraction: self._change(job, phase, fraction))

    def _settled(self, job: PlannedJob, future: Future[Result], others: Collection[PlannedJob]) -> Verdict:
        """Take the row of a job that has ended, or say that it has to run once more."""
        if is_lost(future, InputError, CancelledError) and self._attempts.again(job.id):
            self._forget(job)
            return Verdict.AGAIN
        if (result := self._checked(job, _ended(job, future), others)) is None:
            self._forget(job)
            return Verdict.ALONE
        self._take(job, result, time.monotonic() - self._started[job.id])
        return Verdict.DONE

    def _forget(self, job: PlannedJob) -> None:
        """Note that a job does not run any more, and has not ended either."""
        with self._lock:
            self._running.pop(job.id, None)
        self._tell()

    def _checked(self, job: PlannedJob, result: Result, others: Collection[PlannedJob]) -> Result | None:
        """Return the row of a job that has ended; a crashed one where it changed the made scene that it ran on.

        None where another job on the same scene may have done that: each of them runs again, alone.
        """
        path = job.request.scene.path
        damage = None if path is None else self._scenes.damage(Path(path))
        suspects = [other for other in others if other.request.scene.path == path] if damage is not None else []
        self._again |= {other.id for other in suspects}
        if job.id in self._again or suspects:
            self._again.discard(job.id)
            return None
        return result if damage is None else write_row(job, Status.CRASHED, damage)

    def _take(self, job: PlannedJob, result: Result, seconds: float | None) -> None:
        """Note that a job has ended."""
        with self._lock:
            self._running.pop(job.id, None)
            self._results[job.id] = result
            if seconds is not None:
                self._seconds.append(seconds)
        self._tell()

    def _change(self, job: PlannedJob, phase: str, fraction: float) -> None:
        with self._lock:
            if job.id in self._results:  # what an executor tells late
                return
            self._running[job.id] = (phase, fraction)
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
