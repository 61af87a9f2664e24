"""Ending a job's processes when the harness dies, however it dies: also by ``kill -9``."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

PARENT_VARIABLE = "REFBENCH_PARENT_PID"
_PR_SET_PDEATHSIG = 1
# First line: the group to guard. A second line means that all went well; the end of the pipe, that the parent died.
_SCRIPT = 'read group && { read done || kill -s KILL -- "-$group"; }'


class Lifeline:
    """A tiny process of its own session that holds the other end of a pipe and kills a group when the pipe breaks.

    It sees to the processes that a job starts as well, and works while the job is stuck in native code.
    """

    def __init__(self) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Lifeline:
        """Start the watcher."""
        with contextlib.suppress(OSError):  # without a shell only the job's own process dies with the harness
            self._watcher = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def guard(self, group: int) -> None:
        """Name the process group that must not outlive this process."""
        self._write(f"{group}\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the watcher go: the group has ended."""
        self._write("done\n")
        if self._watcher is not None:
            if self._watcher.stdin is not None:
                with contextlib.suppress(OSError):
                    self._watcher.stdin.close()
            self._watcher.wait()

    def _write(self, line: str) -> None:
        if self._watcher is not None and self._watcher.stdin is not None:
            with contextlib.suppress(OSError):
                self._watcher.stdin.write(line.encode())
                self._watcher.stdin.flush()


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; it closes the gap until ``guard``."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is not None and os.getppid() != int(parent):
        os._exit(1)
