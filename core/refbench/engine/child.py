"""The process of one cell: ``python -m refbench.engine.child REQUEST``. It writes files and a draft of the result.

Progress goes to the file descriptor in ``REFBENCH_PROGRESS_FD`` as one JSON line each; everything else to the log.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError, SkippedError, UnsupportedError
from refbench.contracts.method import Context
from refbench.engine.lifeline import die_with_parent
from refbench.engine.request import CellRequest
from refbench.engine.result import Phase, json_ready
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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: Python's own, torch's, or the allocator's words."""
    text = str(error).lower()
    words = ("out of memory", "allocate memory", "unable to allocate", "not enough memory")
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or any(w in text for w in words)


def run(request: CellRequest) -> None:
    """Run the cell and write the draft; every error becomes a status with its reason."""
    from refbench.engine.execute import execute

    recorder = Recorder(request.folder, request.method)
    context = Context(
        device=request.device,
        seed=request.seed,
        scratch=request.folder / "scratch",
        memory_budget_bytes=request.memory_budget_bytes,
        threads=request.threads,
        report=recorder.progress,
    )
    try:
        recorder.notify("run_started")
        execute(request, context, recorder)
    except UnsupportedError as error:
        recorder.write("unsupported", str(error))
    except SkippedError as error:
        recorder.write("skipped", str(error))
    except InputError as error:
        recorder.write("bad_input", str(error))
    except BaseException as error:
        if is_out_of_memory(error):
            _make_room(error)
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        recorder.write("oom" if is_out_of_memory(error) else "failed", text)
    else:
        recorder.write("ok")
    recorder.notify("run_ended", {"status": recorder.draft["status"]})


def _make_room(error: BaseException) -> None:
    """Free what the failed code held and lift the cap, so that the end can be written down."""
    traceback.clear_frames(error.__traceback__)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def main() -> None:
    """Read the request, set limits, run."""
    die_with_parent()
    request = CellRequest.from_json(Path(sys.argv[1]).read_text())
    if request.memory_cap_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        cap = request.memory_cap_bytes if hard == resource.RLIM_INFINITY else min(request.memory_cap_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
    run(request)


if __name__ == "__main__":
    main()
