"""What a job's process says of itself: progress through a pipe, and a draft of the result beside its outputs."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.engine.job.draft import Ending, ResultDraft
from refbench.engine.job.log import logger
from refbench.engine.job.result import Phase, Status
from refbench.engine.job.supervisor import PROGRESS_VARIABLE
from refbench.registry.records import RunEvent
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from refbench.engine.job.draft import Part

DRAFT_FILE = "draft.json"
_REPORT_EVERY_S = 0.1


class Recorder:
    """Collects the draft of the result: phases, their parts, and how the job ended."""

    def __init__(self, folder: Path, method: str = "") -> None:
        self.folder, self.method = folder, method
        self.draft = ResultDraft()
        self._fd = int(os.environ.get(PROGRESS_VARIABLE, "-1"))
        self._last = 0.0
        self._phase = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase, wall and CPU seconds of this process."""
        self._phase = name
        self.progress(0.0, "")
        self.notify("phase_started")
        logger.info("%s: started", name)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            ended = Phase(name=name, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
            self.draft = self.draft.with_phase(ended)
            logger.info("%s: ended after %.2f s, %.2f s of CPU", name, ended.wall_s, ended.cpu_s)
            self.notify("phase_ended", ended.model_dump())

    @property
    def status(self) -> str:
        """How the job ended, as the draft says it; empty before."""
        ending = self.draft.ending
        if ending is None:
            return ""
        return ending.status.value if isinstance(ending.status, Status) else ending.status

    def add(self, part: Part) -> None:
        """Put a part of the result into the draft."""
        self.draft = self.draft.with_part(part)

    def notify(self, kind: str, values: dict[str, Any] | None = None) -> None:
        """Tell the plugins that observe runs."""
        load_registry().notify(RunEvent(kind, self.method, self.draft.opened.scene, self._phase, values or {}))

    def progress(self, fraction: float, message: str) -> None:
        """Send progress in [0, 1] to the parent, at most ten times a second."""
        now = time.perf_counter()
        if self._fd < 0 or (0 < fraction < 1 and now - self._last < _REPORT_EVERY_S):
            return
        self._last = now
        line = json.dumps({"phase": self._phase, "fraction": fraction, "message": message}) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError:
            self._fd = -1

    def write(self, status: Status | Literal["bad_input"], reason: str | None = None) -> None:
        """Write the draft beside the outputs."""
        outcome = status.value if isinstance(status, Status) else status
        logger.log(
            logging.INFO if status is Status.OK else logging.ERROR, "%s%s", outcome, f": {reason}" if reason else ""
        )
        self.add(Ending(status=status, reason=reason, peak_memory_bytes=peak_memory()))
        temporary = self.folder / (DRAFT_FILE + ".partial")
        temporary.write_text(self.draft.to_json())
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
