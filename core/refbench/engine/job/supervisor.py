"""The process between the harness and a job: it ends all that the job started, however either of them ends.

``supervised`` forks before anything heavy is imported. The parent of the fork is the supervisor: on Linux every
descendant of the job that loses its own parent, also one in a session of its own, becomes the supervisor's child, so
that none can get away. The harness talks to it through its standard input: ``STOP`` asks the job to end, ``KILL`` and
the end of the pipe (the harness died) end it at once. The supervisor ends as the job did.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

STOP, KILL = b"stop\n", b"kill\n"
PROGRESS_VARIABLE = "REFBENCH_PROGRESS_FD"
_CONTROL = 0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ASK_EVERY_MS = 50


def supervised() -> None:
    """Fork; return in the job's process only, which leads a session of its own and reads nothing."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    job = os.fork()
    if job:
        _supervise(job)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the kernel was told
        os._exit(1)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _CONTROL)
    os.close(null)


def _supervise(job: int) -> None:
    """Wait for the job, do what the harness says, end what the job left behind, and end as it did."""
    with contextlib.suppress(OSError, KeyError, ValueError):  # or the harness would never see the end of the pipe
        os.close(int(os.environ[PROGRESS_VARIABLE]))
    status = _job_ended(job)
    _end_group(job)
    while _end_children():
        pass
    if os.WIFSIGNALED(status):
        import resource  # not where the constants of this module are read: Windows has none

        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def _job_ended(job: int) -> int:
    """Return the job's wait status when it has ended, by itself or on the harness's word."""
    poll = select.poll()
    poll.register(_CONTROL, select.POLLIN)
    every = _ASK_EVERY_MS
    with contextlib.suppress(AttributeError, OSError):
        poll.register(os.pidfd_open(job), select.POLLIN)
        every = -1
    while True:
        pid, status = os.waitpid(job, os.WNOHANG)
        if pid:
            return status
        if any(fd == _CONTROL for fd, _ in poll.poll(every)):
            said = os.read(_CONTROL, 64)
            if not said or KILL in said:
                _end_group(job)
                os.kill(job, signal.SIGKILL)
                return os.waitpid(job, 0)[1]
            if STOP in said:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(job, signal.SIGTERM)


def _end_group(job: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job, signal.SIGKILL)


def _end_children() -> bool:
    """Kill the children and wait for one of them; return whether there may be more: their own become ours then."""
    for child in _children():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Return the children of this process, which has one thread; empty where the system does not tell."""
    me = os.getpid()
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold spaces; state and parent follow it.
            if int(path.read_text().rpartition(")")[2].split()[1]) == me:
                found.append(int(path.parent.name))
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
