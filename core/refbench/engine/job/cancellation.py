"""A request to stop that can be waited for beside files and processes, without asking again and again."""

from __future__ import annotations

import os


class Cancellation:
    """A flag that starts unset and is set once; ``fileno`` becomes readable then. It holds a pipe."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._is_set = False

    def close(self) -> None:
        """Give the pipe back: nobody may wait any more."""
        for end in (self._reader, self._writer):
            os.close(end)

    def set(self) -> None:
        """Ask all who wait to stop."""
        if not self._is_set:
            self._is_set = True
            os.write(self._writer, b"\n")

    @property
    def is_set(self) -> bool:
        """Whether stopping was asked for."""
        return self._is_set

    def fileno(self) -> int:
        """Return the descriptor that is readable once the flag is set; nobody reads from it."""
        return self._reader
