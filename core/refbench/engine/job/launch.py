"""Running one job: a process of its own, typed status, cost, a folder that appears whole or not at all."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.engine.job.bounded_log import BoundedLog
from refbench.engine.job.out_of_memory import memory_kills, was_memory
from refbench.engine.job.process import Ended, run_process
from refbench.engine.job.recorder import DRAFT_FILE
from refbench.engine.job.remains import (
    LOG_FILE,
    REASON_LIMIT,
    REQUEST_FILE,
    bounded,
    log_tail,
    missing_output,
    says_out_of_memory,
    tidied,
)
from refbench.engine.job.result import RESULT_FILE, Cost, Status, write_result
from refbench.files.new_folder import partial_folder, put_in_place
from refbench.files.out_guard import check_out, locked, write_contents
from refbench.files.posix import require_posix
from refbench.files.regular import remove
from refbench.files.terminable import terminable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from resource import struct_rusage

    from refbench.engine.job.cancellation import Cancellation
    from refbench.engine.job.draft import ResultDraft
    from refbench.engine.job.request import JobRequest
    from refbench.engine.job.result import Result


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
        Takes phase, fraction in [0, 1] and message.
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
    UnsupportedError
        The system has no processes and locks of POSIX.
    """
    require_posix("A job")
    out = request.folder
    inputs = list(input_paths(request))
    check_out(out, overwrite, inputs)
    with terminable(), locked(out):
        check_out(out, overwrite, inputs)  # another run may have ended just now
        partial = partial_folder(out)
        try:
            result = _run_in(partial, request, progress, cancellation)
            if result.status is not Status.OK and (out / RESULT_FILE).exists():
                kept = f"The older result in {out} was kept."
                return result.model_copy(update={"warnings": [*result.warnings, kept]})
            if finish is not None:
                finish(partial, result)
            write_result(partial, result)
            write_contents(partial)
            put_in_place(partial, out, lambda: check_out(out, overwrite, inputs))
        finally:
            remove(partial)
    return result


def input_paths(request: JobRequest) -> Iterator[Path]:
    """Yield the files and folders that a request reads, as far as it names them itself."""
    scene = request.scene
    values = [scene.path, request.config, request.weights, *scene.files.values()]
    for value in values:
        several = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        yield from (Path(one) for one in several if isinstance(one, (str, Path)) and os.path.lexists(one))


def _run_in(
    folder: Path,
    request: JobRequest,
    progress: Callable[[str, float, str], None] | None,
    cancellation: Cancellation | None,
) -> Result:
    request_file = folder / REQUEST_FILE
    request_file.write_text(replace(request, out=str(folder)).to_json())
    kills, started = memory_kills(), time.perf_counter()
    with BoundedLog(folder / LOG_FILE) as log:
        ended = run_process(request, request_file, log, progress, cancellation)
    wall = time.perf_counter() - started
    return _result(folder, request, ended, log.text(), kills, wall)


def _result(folder: Path, request: JobRequest, ended: Ended, text: bytes, kills: int | None, wall: float) -> Result:
    """Return the result of a job that has ended, from what it left and printed."""
    draft = tidied(folder)
    (folder / REQUEST_FILE).write_text(request.without_secrets().to_json())
    (folder / LOG_FILE).write_bytes(text)  # anew: the job may have spoilt the file
    peak = _peak_bytes(ended.usage)
    status, reason = _ending(ended, draft, request, was_memory(kills, peak) or says_out_of_memory(text))
    if status is Status.FAILED and (says_out_of_memory(text) or _was_killed_for_memory(reason, kills)):
        status, reason = Status.OOM, f"Memory ran out, in the job or a process that it started. {reason}"
    if status is Status.OK and (missing := missing_output(folder, draft)) is not None:
        status, reason = Status.CRASHED, f"Its output {missing} is missing at the end, or no regular file."
    cost = Cost(wall_s=wall, cpu_s=ended.usage.ru_utime + ended.usage.ru_stime, peak_memory_bytes=peak)
    reason = None if reason is None else bounded(reason, REASON_LIMIT)
    return draft.result(request, status, reason, cost, log_tail(text))


def _ending(ended: Ended, draft: ResultDraft, request: JobRequest, ran_out: bool) -> tuple[Status, str | None]:
    """Return status and reason from how the process ended and what it wrote before."""
    if ended.timed_out:
        return Status.TIMEOUT, f"It was stopped at the deadline of {request.deadline_s:g} s."
    if os.WIFSIGNALED(ended.wait_status):
        number = os.WTERMSIG(ended.wait_status)
        name = signal.Signals(number).name
        if number in (signal.SIGKILL, signal.SIGABRT) and ran_out:
            how = ", as the system does where memory runs out" if number == signal.SIGKILL else " without memory"
            return Status.OOM, f"Its process ended by {name}{how}."
        return Status.CRASHED, f"Its process died of {name}."
    if draft.is_damaged:
        return Status.CRASHED, f"Its process left an unreadable {DRAFT_FILE}."
    if draft.ending is None:
        code = os.WEXITSTATUS(ended.wait_status)
        return Status.CRASHED, f"Its process ended with code {code} and wrote no result."
    if draft.ending.status == "bad_input":
        raise InputError(bounded(draft.ending.reason or "", REASON_LIMIT))
    return Status(draft.ending.status), draft.ending.reason


def _was_killed_for_memory(reason: str | None, kills: int | None) -> bool:
    """Return whether a job failed because the kernel killed a process that it had started for memory."""
    after = memory_kills()
    told = any(word in (reason or "") for word in ("SIGKILL", "signal 9", "exit code -9", "BrokenProcessPool"))
    return told and kills is not None and after is not None and after > kills


def _peak_bytes(usage: struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
