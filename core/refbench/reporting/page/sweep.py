"""The page of a sweep: its tables, accuracy against cost, surfaces per scene, every job's end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from refbench.contracts.errors import RefbenchError
from refbench.engine.inputs.scene import open_scene
from refbench.engine.sweeps.finished import by_scene
from refbench.engine.sweeps.store import MANIFEST_FILE
from refbench.formats.raster import open_written_dsm
from refbench.reporting.page.model import Page
from refbench.reporting.page.plot import Point, cost_plot
from refbench.reporting.page.rerun_command import command_line
from refbench.reporting.page.run import as_run
from refbench.reporting.page.surfaces import REFERENCE, scene_view
from refbench.reporting.tables.data import sweep_tables
from refbench.reporting.tables.rows import INITIAL, read_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from refbench.contracts.raster import DSM
    from refbench.contracts.source import RasterSource
    from refbench.engine.sweeps.finished import SweepJob
    from refbench.reporting.page.model import Plot, SceneView
    from refbench.reporting.tables.rows import Row, SweepData


def sweep_page(out: Path) -> Page:
    """Return the page of a sweep; raises ``InputError`` where ``out`` holds none."""
    document, data = sweep_tables(out), read_data(out)
    jobs = [job for row in data.rows for job in row.jobs]
    ends = [job.result.status.value for job in jobs]
    counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(sorted(ends, key=lambda e: e != "ok")))
    manifest = out / MANIFEST_FILE
    return Page(
        document.title,
        f"{len(jobs)} jobs: {counts}",
        document.tables,
        document.all_notes("Bold", "Underlined"),
        tuple(view for scene, of in by_scene(jobs).items() if (view := _view(scene, of)) is not None),
        tuple(plot for plot in _plots(data) if plot is not None),
        tuple(as_run(job.result, job.id, _command(job)) for job in sorted(jobs, key=lambda c: (c.is_ok, c.id))),
        ((("Manifest", json.dumps(json.loads(manifest.read_text()), indent=2)),) if manifest.is_file() else ()),
    )


def _view(name: str, jobs: Sequence[SweepJob]) -> SceneView | None:
    """Return the surfaces of a scene: of every method its first seed."""
    refined: dict[str, RasterSource[DSM]] = {}
    for job in jobs:
        if job.dsm_path is not None and job.label not in refined:
            refined[job.label] = open_written_dsm(job.dsm_path)
    if not refined:
        return None
    sources: dict[str, RasterSource[DSM]] = {}
    try:
        scene = open_scene(next(job for job in jobs if job.dsm_path is not None).request())
    except RefbenchError:  # the scene has gone since; what was refined is still there
        return scene_view(name, refined)
    if scene.dsm is not None:
        sources[INITIAL] = scene.dsm
    sources |= refined
    if scene.reference is not None and scene.reference.dsm is not None:
        sources[REFERENCE] = scene.reference.dsm
    return scene_view(name, sources)


def _plots(data: SweepData) -> list[Plot | None]:
    plots = []
    for scene in dict.fromkeys(row.scene for row in data.rows):
        rows = [row for row in data.rows if row.scene == scene]
        initial = next((row.figure("common", "all", "mae").value for row in rows if row.label is None), None)
        points = [point for row in rows if row.label is not None and (point := _point(row)) is not None]
        plots.append(cost_plot(scene, points, initial))
    return plots


def _point(row: Row) -> Point | None:
    figure = row.figure("common", "all", "mae")
    seconds = [job.result.cost.cpu_s for job in row.jobs if job.is_ok and job.result.cost.cpu_s]
    if figure.value is None or not seconds:
        return None
    return Point(row.name, sum(seconds) / len(seconds), figure.value, figure.low, figure.high)


def _command(job: SweepJob) -> str:
    try:
        return command_line(job.request())
    except RefbenchError:
        return ""
