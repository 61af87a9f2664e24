"""Watching what a run does to its surroundings: network, files written, working folder, environment, random states.

Python tells an audit hook of every socket and every file that it opens. A hook can never be taken away again, so one
is installed for the process and does nothing while nobody watches.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})
_CACHES = ("/dev/", "/proc/", "__pycache__", "/.cache/", "/.config/", "/matplotlib")
"""Parts of paths that libraries of their own accord write to."""
_LIBRARIES = ("TORCHINDUCTOR_", "TRITON_", "KMP_")
"""Beginnings of environment variables that libraries set of their own accord."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
_active: list[Surroundings] = []
_installed = threading.Event()


@dataclass(slots=True)
class Surroundings:
    """A context manager: what happened outside ``allowed`` while it was open. The network is refused meanwhile."""

    allowed: tuple[Path, ...]
    network: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    _before: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Surroundings:
        """Start to watch."""
        if not _installed.is_set():
            _installed.set()
            sys.addaudithook(_hook)
        self._before = _state()
        _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, tell what differs, and put folder and environment back."""
        _active.remove(self)
        before, after = self._before, _state()
        self.changed += [name for name in before if before[name] != after[name]]
        if os.getcwd() != before["working folder"]:  # noqa: PTH109  # compared as text
            os.chdir(before["working folder"])
        if after["environment"] != before["environment"]:
            for name in after["environment"].keys() - before["environment"].keys():
                del os.environ[name]
            os.environ.update(before["environment"])

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note one event of the interpreter."""
        if event in _NETWORK:
            self.network.append(f"{event} {arguments[1:]!r}"[:120])
            raise ConnectionRefusedError("refbench check lets no method use the network")
        if event == "open" and _is_write(arguments):
            path = Path(os.fsdecode(arguments[0])).absolute()
            is_cache = any(part in f"{path}" for part in _CACHES)
            if not is_cache and not any(path.is_relative_to(folder) for folder in self.allowed):
                self.written.append(str(path))


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _active and (event in _NETWORK or event == "open"):
        _active[-1].see(event, arguments)


def _is_write(arguments: tuple[Any, ...]) -> bool:
    """Return whether an ``open`` event with (path, mode, flags) writes to a named file."""
    path, mode, flags = arguments
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    return any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITES)


def _state() -> dict[str, Any]:
    """Return what a run must leave as it was, by its name in sentences."""
    readers: dict[str, Callable[[], Any]] = {
        "working folder": os.getcwd,
        "environment": lambda: {k: v for k, v in os.environ.items() if not k.startswith(_LIBRARIES)},
        "random state of Python": random.getstate,
        "random state of numpy": lambda: repr(np.random.get_state()[1:3]) + str(np.random.get_state()[1].sum()),  # type: ignore[index]
        "temporary folder": lambda: tempfile.tempdir,
    }
    return {name: read() for name, read in readers.items()}
