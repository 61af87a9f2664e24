"""Where jobs run: the seam behind which other machines and schedulers come in.

An executor is one class that fulfils ``Executor``; requests pickle, results do, too. ``run_sweep`` takes any of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from refbench.engine.job.cancellation import Cancellation
from refbench.engine.job.launch import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from refbench.engine.job.request import JobRequest
    from refbench.engine.job.result import Result

    Progress = Callable[[str, float], None]
    """Takes the phase and how much of it is done, in [0, 1]; called from any thread."""


class Executor(Protocol):
    """Runs jobs; ``slots`` of them at once are worth submitting."""

    @property
    def slots(self) -> int:
        """How many jobs run at once."""

    def submit(self, request: JobRequest, progress: Progress | None = None) -> Future[Result]:
        """Start a job and return at once.

        When the future has its result, the job's folder ``request.out`` is in place, whole, on a file system that the
        caller sees. It raises ``InputError`` where the input is bad; any other error means that the job crashed. An
        executor that cannot follow a job leaves ``progress`` alone.
        """

    def close(self, *, cancel: bool) -> None:
        """Wait until nothing runs any more; with ``cancel`` running jobs are ended, and waiting ones never start."""


class LocalProcesses:
    """Runs every job in a process of its own on this machine, ``slots`` at once."""

    def __init__(self, slots: int = 1) -> None:
        self._slots = slots
        self._pool = ThreadPoolExecutor(max_workers=slots, thread_name_prefix="refbench-job")
        self._cancellation = Cancellation()

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self._slots

    def submit(self, request: JobRequest, progress: Progress | None = None) -> Future[Result]:
        """Start a job in a process; see ``Executor``."""

        def show(phase: str, fraction: float, message: str) -> None:
            del message
            if progress is not None:
                progress(phase, fraction)

        return self._pool.submit(run_job, request, progress=show, cancellation=self._cancellation)

    def close(self, *, cancel: bool) -> None:
        """Wait for the processes, with ``cancel`` after having ended them."""
        if cancel:
            self._cancellation.set()
        self._pool.shutdown(wait=True, cancel_futures=cancel)
        self._cancellation.close()
