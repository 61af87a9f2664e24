"""``refbench run --regions``, ``--region-index`` and ``refbench merge``: one raster in regions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refbench.cli.show_run import show_run
from refbench.contracts.errors import InputError
from refbench.engine.inputs.check import check_inputs
from refbench.engine.job.join import read_strips
from refbench.engine.job.parts import Part
from refbench.engine.job.refine import check_by_regions
from refbench.engine.job.remains import REQUEST_FILE
from refbench.engine.job.request import JobRequest
from refbench.engine.job.result import Status
from refbench.engine.sweeps.regions import is_finished, region_request, run_regions
from refbench.registry.registry import load_registry
from refbench.reporting.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from refbench.contracts.scene import Scene
    from refbench.engine.sweeps.executor_choice import ExecutorChoice


def show_region(request: JobRequest, opened: Scene, *, overwrite: bool, as_json: bool) -> int:
    """Run the one region that ``request.region`` names; one that is finished in the same words is kept."""
    assert request.region is not None  # the caller looked
    _check_method(request)
    request.region.rows(opened.require_grid().height)
    whole = request.folder
    request = region_request(request, request.region)
    if is_finished(request) and not overwrite:
        echo(f"{request.folder} is finished.", err=True)
        return 0
    code = show_run(request, opened, overwrite=overwrite, report=False, as_json=as_json)
    echo(f"Join the regions when all have run: refbench merge {whole}", err=True)
    return code


def show_regions(
    request: JobRequest,
    opened: Scene,
    of: int,
    choice: ExecutorChoice,
    *,
    overwrite: bool,
    report: bool,
    stac: bool,
    as_json: bool,
) -> int:
    """Run all regions of a raster by an executor, then join and score them."""
    _check_method(request)
    Part(0, of).rows(opened.require_grid().height)  # refuses too many
    found = run_regions(request, of, choice.make(), lambda done, total: echo(f"{done} of {total} regions", err=True))
    for folder, result in found.items():
        if result.status is not Status.OK:
            echo(f"{folder}: {result.status.value}: {result.reason}", err=True)
    if codes := [result.status.exit_code for result in found.values() if result.status is not Status.OK]:
        echo(f"{len(codes)} of {of} regions are missing; run it again for these alone.", err=True)
        return min(codes)
    joined = replace(request, strips=tuple(str(folder) for folder in found))
    return show_run(joined, opened, overwrite=overwrite, report=report, stac=stac, as_json=as_json)


def _check_method(request: JobRequest) -> None:
    record = load_registry().methods.get(request.method)
    check_by_regions(record, record.load())


def join_regions(folders: Sequence[Path], out: Path, *, overwrite: bool, stac: bool, report: bool) -> int:
    """Join regions into ``out`` and score the whole.

    Raises
    ------
    InputError
        See ``read_strips``.
    """
    strips = read_strips(folders)
    first = strips[0].folder / REQUEST_FILE
    try:
        asked = JobRequest.from_json(first.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{first} cannot be read: {error}; run this region again.") from error
    paths = tuple(str(strip.folder.absolute()) for strip in strips)
    request = replace(asked, region=None, strips=paths, out=str(out))
    return show_run(request, check_inputs(request).scene, overwrite=overwrite, report=report, stac=stac)
