"""Running a suite: every cell on its own, every end a row, nothing finished is ever lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError, InputError
from refbench.engine.job.launch import run_cell
from refbench.engine.job.result import Status
from refbench.engine.sweeps.jobs import plan_cells
from refbench.engine.sweeps.store import discard, finished, sweep_folder, unplanned, write_key, write_row
from refbench.engine.sweeps.suite import check_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from refbench.engine.job.result import Result
    from refbench.engine.sweeps.jobs import PlannedCell
    from refbench.engine.sweeps.suite import Suite

FAILURES = frozenset({Status.FAILED, Status.TIMEOUT, Status.OOM, Status.CRASHED})
"""Ends that are failures: skipped and unsupported cells are none."""


@dataclass(frozen=True, slots=True)
class SweepState:
    """How far a sweep is. ``running``: cell id -> (phase, share in [0, 1]); ``seconds_left`` None until one ended."""

    done: int = 0
    total: int = 0
    kept: int = 0
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    seconds_left: float | None = None
    note: str = ""


def run_sweep(
    suite: Suite,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    only: Sequence[str] = (),
    retry: Collection[Status] = (),
    trust: bool = False,
    progress: Callable[[SweepState], None] = lambda state: None,
) -> dict[PlannedCell, Result]:
    """Run the cells of a suite, each in a process of its own, and return every one's result, in the suite's order.

    Parameters
    ----------
    suite
        What to run.
    out
        Folder of the sweep: ``suite.yaml``, ``manifest.json``, ``scenes/`` and ``cells/<id>/result.json``, with
        ``key.json`` and ``request.json`` beside.
    workers
        How many cells run at once.
    resume
        Continue a sweep: cells whose key is the same are kept. A folder that is not there is started.
    only
        Patterns of cells, see ``plan_rows``; the others are left as they are.
    retry
        Cells that ended so are run again.
    trust
        Allow a suite from elsewhere to name interpreters.
    progress
        Told about every change, from several threads, one at a time.

    Raises
    ------
    InputError
        See ``plan_cells`` and ``sweep_folder``; nothing has run then.
    KeyboardInterrupt
        Ctrl-C: running cells are killed, finished rows stay.
    """
    check_trust(suite, trust)
    with sweep_folder(out.absolute(), suite, resume) as folder:
        cells = plan_cells(suite, folder, only, note=lambda text: progress(SweepState(note=text)))
        stray = [] if only else unplanned(folder, cells)
        note = f"{len(stray)} cells there are not of this suite, such as {stray[0]}" if stray else ""
        return _Sweep(cells, retry, progress, note).run(workers)


class _Sweep:
    """The state that the workers share."""

    def __init__(
        self,
        cells: tuple[PlannedCell, ...],
        retry: Collection[Status],
        progress: Callable[[SweepState], None],
        note: str,
    ) -> None:
        self._cells, self._progress, self._note = cells, progress, note
        kept = {cell.id: result for cell in cells if (result := finished(cell)) and result.status not in retry}
        self._results: dict[str, Result] = kept
        self._kept = len(kept)
        self._running: dict[str, tuple[str, float]] = {}
        self._seconds: list[float] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._workers = 1

    def run(self, workers: int) -> dict[PlannedCell, Result]:
        """Run what is not finished with so many workers."""
        self._workers = workers
        self._tell()
        todo = [cell for cell in self._cells if cell.id not in self._results]
        with ThreadPoolExecutor(max_workers=workers) as pool:
            futures = [pool.submit(self._one, cell) for cell in todo]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return {cell: self._results[cell.id] for cell in self._cells}

    def _one(self, cell: PlannedCell) -> None:
        """Bring one cell to its end; only trouble with the sweep's own folder is raised."""
        if self._stop.is_set():
            return
        started = time.monotonic()
        self._change(cell, "start", 0.0)
        try:
            result = self._result(cell)
        finally:
            with self._lock:
                self._running.pop(cell.id, None)
        with self._lock:
            self._results[cell.id] = result
            if cell.ending is None:
                self._seconds.append(time.monotonic() - started)
        self._tell()

    def _result(self, cell: PlannedCell) -> Result:
        if cell.ending is not None:
            return write_row(cell, *cell.ending)
        discard(cell.request.folder)

        def finish(folder: Path, result: Result) -> None:
            result.scene = cell.scene
            write_key(folder, cell)

        try:
            return run_cell(
                cell.request,
                progress=lambda phase, share, message: self._change(cell, phase, share),
                finish=finish,
                is_cancelled=self._stop.is_set,
            )
        except CancelledError:
            raise
        except InputError as error:
            return write_row(cell, Status.FAILED, str(error))
        except (ValueError, TypeError, KeyError) as error:
            text = " ".join(str(error).split())
            return write_row(cell, Status.CRASHED, f"Its process left something unreadable: {text}")

    def _change(self, cell: PlannedCell, phase: str, share: float) -> None:
        with self._lock:
            self._running[cell.id] = (phase, share)
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            left = len(self._cells) - len(self._results)
            mean = sum(self._seconds) / len(self._seconds) if self._seconds else None
            seconds = None if mean is None else mean * left / self._workers
            state = SweepState(
                len(self._results), len(self._cells), self._kept, dict(self._running), seconds, self._note
            )
            self._progress(state)
