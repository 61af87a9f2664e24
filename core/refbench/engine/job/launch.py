"""Running one job: its own process group, deadline, memory cap, ``wait4`` figures, typed status, atomic folder."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError, InputError
from refbench.engine.job.draft import ResultDraft
from refbench.engine.job.lifeline import PARENT_VARIABLE, Lifeline
from refbench.engine.job.out_of_memory import memory_kills, was_memory
from refbench.engine.job.recorder import DRAFT_FILE, PROGRESS_VARIABLE
from refbench.engine.job.result import RESULT_FILE, Cost, Status, write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from resource import struct_rusage

    from refbench.engine.job.cancellation import Cancellation
    from refbench.engine.job.request import JobRequest
    from refbench.engine.job.result import Result

LOG_FILE = "log.txt"
LOG_TAIL_LINES = 20
GRACE_S = 3.0
_ASK_EVERY_S = 0.05
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds something, unless it is a result and may be overwritten.

    Raises
    ------
    InputError
        ``out`` is a file, a folder with foreign files, or holds a result and ``overwrite`` is False.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder.")
    if (out / RESULT_FILE).exists():
        if not overwrite:
            raise InputError(f"--out {out} already holds a result; give another folder or --overwrite.")
    elif any(out.iterdir()):
        raise InputError(f"--out {out} holds other files; give an empty or a new folder.")


def run_job(
    request: JobRequest,
    *,
    overwrite: bool = False,
    progress: Callable[[str, float, str], None] | None = None,
    finish: Callable[[Path, Result], None] | None = None,
    cancellation: Cancellation | None = None,
) -> Result:
    """Run a job and put its folder in place when it is whole; until then an older one stays.

    Parameters
    ----------
    request
        What to run; ``out`` is the folder of the result.
    overwrite
        Replace a result that is there, by one that ended ok; else the older one stays and nothing is written.
    progress
        Takes phase, share in [0, 1] and message.
    finish
        Called with the folder and the result before the folder is put in place: for reports; it may amend the result.
    cancellation
        Where it is set, the job's processes are killed.

    Raises
    ------
    InputError
        Bad input, also where it shows in the job's process only; nothing is left behind.
    CancelledError
        It was cancelled; nothing is left behind.
    """
    out = request.folder
    check_out(out, overwrite)
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"The output folder {out} cannot be made: {error.strerror}.") from error
    try:
        result = _run_in(partial, request, progress, cancellation)
        if result.status is not Status.OK and (out / RESULT_FILE).exists():
            kept = f"The older result in {out} was kept."
            return result.model_copy(update={"warnings": [*result.warnings, kept]})
        if finish is not None:
            finish(partial, result)
        write_result(partial, result)
        _put_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return result


def _put_in_place(partial: Path, out: Path) -> None:
    old = out.with_name(f"{out.name}.old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _run_in(
    folder: Path,
    request: JobRequest,
    progress: Callable[[str, float, str], None] | None,
    cancellation: Cancellation | None,
) -> Result:
    request_file = folder / "request.json"
    request_file.write_text(replace(request, out=str(folder)).to_json())
    kills, started = memory_kills(), time.perf_counter()
    with Lifeline() as lifeline:
        process, reader = _start(folder, request, request_file)
        try:
            lifeline.guard(process.pid)
            code, usage, timed_out = _wait(process, reader, request.deadline_s, progress, cancellation)
        except BaseException:  # Ctrl-C and the like: nothing of the job may live on
            _kill_group(process.pid)
            process.wait()
            raise
        finally:
            os.close(reader)
    wall = time.perf_counter() - started
    draft = _read_draft(folder)
    request_file.write_text(request.to_json())  # for the one who compares or repeats the run
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    ran_out = was_memory(kills, _peak_bytes(usage)) or _says_out_of_memory(folder)
    status, reason = _ending(code, timed_out, draft, request, ran_out)
    cost = Cost(wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime, peak_memory_bytes=_peak_bytes(usage))
    tail = (folder / LOG_FILE).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return draft.result(request, status, reason, cost, tail)


def _start(folder: Path, request: JobRequest, request_file: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the job's process in a session of its own; return it and the pipe that its progress comes from."""
    reader, writer = os.pipe()
    # Threads that spin while they wait multiply the time on a shared machine: a job of 4.6 CPU s took 25.
    # The matrices of the evaluation are small: BLAS threads cost there more than they bring.
    thrifty = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**thrifty, **os.environ, PROGRESS_VARIABLE: str(writer), "PYTHONUNBUFFERED": "1"}
    environment[PARENT_VARIABLE] = str(os.getpid())
    if request.threads is not None:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(request.threads))
    try:
        with (folder / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                [request.python or sys.executable, "-m", "refbench.engine.job.worker", str(request_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(writer,),
                start_new_session=True,
            )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, reader


def _wait(
    process: subprocess.Popen[bytes],
    reader: int,
    deadline_s: float | None,
    progress: Callable[[str, float, str], None] | None,
    cancellation: Cancellation | None,
) -> tuple[int, struct_rusage, bool]:
    """Wait for the process, pass its progress on, end it at the deadline; return wait status, usage, timed out."""
    end = None if deadline_s is None else time.monotonic() + deadline_s
    timed_out, lines = False, _Lines(reader, progress)
    with _watched(process.pid, reader, cancellation) as watch:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                _signal_group(process.pid, signal.SIGKILL)  # children that the job left behind
                return status, usage, timed_out
            if cancellation is not None and cancellation.is_set:
                raise CancelledError("The job was cancelled.")
            if end is not None and time.monotonic() > end:
                _signal_group(process.pid, signal.SIGKILL if timed_out else signal.SIGTERM)
                timed_out, end = True, time.monotonic() + GRACE_S
            if reader in watch.ready(end) and not lines.read():
                watch.forget(reader)


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
        return str(facts["phase"]), min(max(float(facts["share"]), 0.0), 1.0), str(facts["message"])
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


def _watched(pid: int, reader: int, cancellation: Cancellation | None) -> contextlib.closing[_Watch]:
    return contextlib.closing(_Watch(pid, [reader] if cancellation is None else [reader, cancellation.fileno()]))


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_group(pid: int) -> None:
    _signal_group(pid, signal.SIGTERM)
    time.sleep(0.2)
    _signal_group(pid, signal.SIGKILL)


def _read_draft(folder: Path) -> ResultDraft:
    """Return what the job wrote of itself; an empty draft where it wrote nothing, or something damaged."""
    path = folder / DRAFT_FILE
    if not path.exists():
        return ResultDraft()
    try:
        return ResultDraft.model_validate_json(path.read_bytes())
    except ValueError:
        return ResultDraft(is_damaged=True)
    finally:
        path.unlink()


def _peak_bytes(usage: struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _says_out_of_memory(folder: Path) -> bool:
    """Return whether the log ends with what C++ says where an allocation fails: it aborts then."""
    return b"std::bad_alloc" in (folder / LOG_FILE).read_bytes()[-4096:]


def _ending(
    wait_status: int, timed_out: bool, draft: ResultDraft, request: JobRequest, ran_out: bool
) -> tuple[Status, str | None]:
    """Return status and reason from how the process ended and what it wrote before."""
    if timed_out:
        return Status.TIMEOUT, f"It was stopped at the deadline of {request.deadline_s:g} s."
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        name = signal.Signals(number).name
        if number in (signal.SIGKILL, signal.SIGABRT) and ran_out:
            how = ", as the system does where memory runs out" if number == signal.SIGKILL else " without memory"
            return Status.OOM, f"Its process ended by {name}{how}."
        return Status.CRASHED, f"Its process died of {name}."
    if draft.is_damaged:
        return Status.CRASHED, f"Its process left an unreadable {DRAFT_FILE}."
    if draft.ending is None:
        return Status.CRASHED, f"Its process ended with code {os.WEXITSTATUS(wait_status)} and wrote no result."
    if draft.ending.status == "bad_input":
        raise InputError(draft.ending.reason)
    return Status(draft.ending.status), draft.ending.reason
