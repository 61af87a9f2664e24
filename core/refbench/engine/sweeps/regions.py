"""One big raster in regions: a job for each, run by any executor, gone on with where it stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError, InputError
from refbench.engine.job.parts import REGIONS, Part
from refbench.engine.job.remains import REQUEST_FILE
from refbench.engine.job.request import JobRequest
from refbench.engine.job.result import RESULT_FILE, Status, read_result
from refbench.engine.sweeps.dispatch import Attempts, Verdict, dispatch, is_lost
from refbench.files.regular import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Future
    from pathlib import Path

    from refbench.engine.job.result import Result
    from refbench.engine.sweeps.executor import Executor


def region_request(request: JobRequest, part: Part) -> JobRequest:
    """Return the request of one region of ``request``, in its folder beside ``request.out``."""
    return replace(request, region=part, out=str(part.folder(request.folder, REGIONS)))


def is_finished(request: JobRequest) -> bool:
    """Return whether a region lies there, ended ok and asked for in the same words."""
    try:
        asked = JobRequest.from_json((request.folder / REQUEST_FILE).read_text(encoding="utf-8"))
        return asked == request and read_result(request.folder / RESULT_FILE).status is Status.OK
    except (OSError, ValueError, TypeError, KeyError, InputError):
        return False


def run_regions(
    request: JobRequest,
    of: int,
    executor: Executor,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Path, Result]:
    """Run ``request`` in ``of`` regions and return folder -> result of each; those that are finished are kept.

    Parameters
    ----------
    request
        What is asked of the whole raster; see ``region_request`` for where the regions go.
    of
        How many regions, from north to south.
    executor
        Where they run; closed at the end. One whose worker is lost is given to it ``dispatch.ATTEMPTS`` times.
    progress
        Takes how many regions are done, of how many.

    Raises
    ------
    InputError
        Bad input of any region.
    Exception
        What an executor said of a worker that was lost each time.
    """
    regions = [region_request(request, Part(index, of)) for index in range(of)]
    regions[0].folder.parent.mkdir(parents=True, exist_ok=True)
    results: dict[int, Result] = {}
    attempts = Attempts()

    def start(index: int) -> Future[Result] | None:
        region = regions[index]
        if is_finished(region):
            results[index] = read_result(region.folder / RESULT_FILE)
            progress(len(results), of)
            return None
        remove(region.folder)  # failed, or of another request
        return executor.submit(region)

    def settle(index: int, future: Future[Result], others: Collection[int]) -> Verdict:
        del others
        if is_lost(future, InputError, CancelledError) and attempts.again(index):
            return Verdict.AGAIN
        results[index] = future.result()
        progress(len(results), of)
        return Verdict.DONE

    is_whole = False
    try:
        dispatch(range(of), start, settle, slots=lambda: executor.slots)
        is_whole = True
    finally:
        executor.close(cancel=not is_whole)
    return {regions[index].folder: results[index] for index in range(of)}
