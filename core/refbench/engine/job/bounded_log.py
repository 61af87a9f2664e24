"""The log of a job that runs: head and tail, so that a job that prints for ever fills neither disk nor memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

LOG_LIMIT = 1 << 20
"""Bytes of a log that are kept: the first and the last half of them."""


class BoundedLog:
    """Takes what a job prints. The file shows it while the job runs, and has 1.5 times ``limit`` bytes at most.

    What is kept lives in memory: the job may do to the file what it likes.
    """

    def __init__(self, path: Path, limit: int = LOG_LIMIT) -> None:
        self._half = limit // 2
        self._head, self._tail, self._left_out = bytearray(), bytearray(), 0
        self._file = path.open("wb", buffering=0)

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def write(self, block: bytes) -> None:
        """Take what was printed next."""
        room = self._half - len(self._head)
        self._head += block[:room]
        self._tail += block[room:]
        # The tail grows to twice its size before its first half goes: each byte is moved once.
        too_much = len(self._tail) - self._half
        with contextlib.suppress(OSError):  # a full disk takes nothing of the log away from the result
            if too_much <= self._half:
                self._file.write(block)
                return
            self._left_out += too_much
            del self._tail[:too_much]
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self.text())

    def text(self) -> bytes:
        """Return the log, at most ``limit`` bytes of it, and between the halves how many were left out."""
        too_much = max(0, len(self._tail) - self._half)
        if not (self._left_out or too_much):
            return bytes(self._head + self._tail)
        mark = f"\n[... {self._left_out + too_much} bytes left out ...]\n".encode()
        return bytes(self._head + mark + self._tail[too_much:])
