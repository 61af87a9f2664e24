"""The process of a job as the harness sees it: started, followed, ended at its deadline, waited for without asking."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError
from refbench.engine.job.supervisor import KILL, PROGRESS_VARIABLE, STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from resource import struct_rusage

    from refbench.engine.job.bounded_log import BoundedLog
    from refbench.engine.job.cancellation import Cancellation
    from refbench.engine.job.request import JobRequest

    Progress = Callable[[str, float, str], None]

GRACE_S = 3.0
"""From being asked to end at the deadline to being made to."""
_ASK_EVERY_S = 0.05
_BLOCK, _PIPE_BLOCKS = 1 << 16, 16
"""Bytes read at once from what a job prints; a pipe holds a megabyte at most."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job's process ended: its wait status, what it and its descendants used, whether it was at its deadline."""

    wait_status: int
    usage: struct_rusage
    timed_out: bool


def run_process(
    request: JobRequest,
    request_file: Path,
    log: BoundedLog,
    progress: Progress | None = None,
    cancellation: Cancellation | None = None,
) -> Ended:
    """Run the job of ``request_file`` to its end, whatever that is; nothing that it started lives on afterwards.

    Raises
    ------
    CancelledError
        It was cancelled.
    """
    process, reader = _start(request, request_file)
    printed = process.stdout
    assert printed is not None  # a pipe was asked for
    try:
        return _wait(process, reader, log, request.deadline_s, progress, cancellation)
    finally:
        if process.returncode is None:  # cancelled, Ctrl-C and the like
            _tell(process, KILL)
            process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]  # a pipe was asked for
        os.set_blocking(printed.fileno(), False)
        with contextlib.suppress(BlockingIOError):  # what was printed last; no more than a pipe holds
            for _ in range(_PIPE_BLOCKS):
                log.write(printed.read(_BLOCK) or b"")
        printed.close()
        os.close(reader)


def _start(request: JobRequest, request_file: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the job's supervisor in a session of its own; return it and the pipe that progress comes from."""
    reader, writer = os.pipe()
    # Threads that spin while they wait multiply the time on a shared machine: a job of 4.6 CPU s took 25.
    # The matrices of the evaluation are small: BLAS threads cost there more than they bring.
    thrifty = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**thrifty, **os.environ, PROGRESS_VARIABLE: str(writer), "PYTHONUNBUFFERED": "1"}
    if request.threads is not None:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(request.threads))
    try:
        process = _open(request, [str(request_file)], environment, writer)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, reader


def _open(
    request: JobRequest, arguments: list[str], environment: dict[str, str], writer: int
) -> subprocess.Popen[bytes]:
    """Start the worker's interpreter in a session of its own; ``writer`` stays open there."""
    return subprocess.Popen(
        [request.python or sys.executable, "-m", "refbench.engine.job.worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        env=environment,
        pass_fds=(writer,),
        start_new_session=True,
    )


def _wait(
    process: subprocess.Popen[bytes],
    reader: int,
    log: BoundedLog,
    deadline_s: float | None,
    progress: Progress | None,
    cancellation: Cancellation | None,
) -> Ended:
    """Wait for the process, keep what it prints, pass its progress on, have it ended at the deadline."""
    assert process.stdout is not None  # a pipe was asked for
    printed = process.stdout.fileno()
    end = None if deadline_s is None else time.monotonic() + deadline_s
    timed_out, lines = False, _Lines(reader, progress)
    waited = [reader, printed] if cancellation is None else [reader, printed, cancellation.fileno()]
    with contextlib.closing(_Watch(process.pid, waited)) as watch:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return Ended(status, usage, timed_out)
            if cancellation is not None and cancellation.is_set:
                raise CancelledError("The job was cancelled.")
            if end is not None and time.monotonic() > end:
                _tell(process, KILL if timed_out else STOP)
                end = None if timed_out else time.monotonic() + GRACE_S
                timed_out = True
            ready = watch.ready(end)
            if reader in ready and not lines.read():
                watch.forget(reader)
            if printed in ready:
                block = os.read(printed, _BLOCK)
                log.write(block)
                if not block:
                    watch.forget(printed)


def _tell(process: subprocess.Popen[bytes], word: bytes) -> None:
    """Say a word to the supervisor, which may have ended."""
    assert process.stdin is not None  # a pipe was asked for
    with contextlib.suppress(OSError):
        process.stdin.write(word)


class _Lines:
    """Progress lines that come through a pipe."""

    def __init__(self, reader: int, progress: Callable[[str, float, str], None] | None) -> None:
        self._reader, self._progress, self._rest = reader, progress, b""

    def read(self) -> bool:
        """Pass on what has come; return whether more may come."""
        block = os.read(self._reader, 1 << 16)
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            if self._progress is not None and (told := _told(line)) is not None:
                self._progress(*told)
        return bool(block)


def _told(line: bytes) -> tuple[str, float, str] | None:
    """Return phase, fraction and message of a line; None where something else wrote into the pipe."""
    try:
        facts = json.loads(line)
        return str(facts["phase"]), min(max(float(facts["fraction"]), 0.0), 1.0), str(facts["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class _Watch:
    """Waits until a process ends, something can be read, or a moment has come: without asking in between."""

    def __init__(self, pid: int, readers: Sequence[int]) -> None:
        self._poll = select.poll()
        for reader in readers:
            self._poll.register(reader, select.POLLIN)
        self._pidfd = -1
        with contextlib.suppress(AttributeError, OSError):  # neither Linux nor new enough: it is asked for, then
            self._pidfd = os.pidfd_open(pid)
            self._poll.register(self._pidfd, select.POLLIN)

    def ready(self, end: float | None) -> set[int]:
        """Return the descriptors that can be read, after ``end`` (as ``time.monotonic`` tells it) none."""
        wait = None if end is None else max(0.0, end - time.monotonic())
        if self._pidfd < 0:
            wait = _ASK_EVERY_S if wait is None else min(wait, _ASK_EVERY_S)
        # Rounded up, or the last millisecond would be spent asking.
        return {fd for fd, _ in self._poll.poll(None if wait is None else math.ceil(1000 * wait))}

    def forget(self, reader: int) -> None:
        """Stop looking at a pipe that has ended."""
        self._poll.unregister(reader)

    def close(self) -> None:
        """Give the process's descriptor back."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
