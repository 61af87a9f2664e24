"""What a cell's process says of itself: progress through a pipe, and a draft of the result beside its outputs."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.engine.job.result import Phase, json_ready
from refbench.registry.records import RunEvent
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

DRAFT_FILE = "draft.json"
PROGRESS_VARIABLE = "REFBENCH_PROGRESS_FD"
_REPORT_EVERY_S = 0.1


class Recorder:
    """Collects the draft of the result: phases, facts, and how it ended."""

    def __init__(self, folder: Path, method: str = "") -> None:
        self.folder, self.method = folder, method
        self.draft: dict[str, Any] = {"phases": [], "warnings": [], "notes": {}}
        self._fd = int(os.environ.get(PROGRESS_VARIABLE, "-1"))
        self._last = 0.0
        self._phase = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase, wall and CPU seconds of this process."""
        self._phase = name
        self.progress(0.0, "")
        self.notify("phase_started")
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.draft["phases"].append(
                Phase(name=name, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu).model_dump()
            )
            self.notify("phase_ended", self.draft["phases"][-1])

    def notify(self, kind: str, values: dict[str, Any] | None = None) -> None:
        """Tell the plugins that observe runs."""
        scene = str(self.draft.get("scene", ""))
        load_registry().notify(RunEvent(kind, self.method, scene, self._phase, values or {}))

    def progress(self, share: float, message: str) -> None:
        """Send progress in [0, 1] to the parent, at most ten times a second."""
        now = time.perf_counter()
        if self._fd < 0 or (0 < share < 1 and now - self._last < _REPORT_EVERY_S):
            return
        self._last = now
        line = json.dumps({"phase": self._phase, "share": share, "message": message}) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError:
            self._fd = -1

    def write(self, status: str, reason: str | None = None) -> None:
        """Write the draft beside the outputs."""
        self.draft.update(status=status, reason=reason, peak_memory_bytes=peak_memory())
        temporary = self.folder / (DRAFT_FILE + ".partial")
        temporary.write_text(json.dumps(json_ready(self.draft)))
        temporary.replace(self.folder / DRAFT_FILE)


def peak_memory() -> int | None:
    """Return the most memory that this process had since it started; None where the system does not tell.

    ``ru_maxrss`` does not do: it starts at what the parent had when it forked.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
