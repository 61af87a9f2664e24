"""The page of a sweep: its tables, accuracy against cost, surfaces per scene, every cell's end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from refbench.contracts.errors import RefbenchError
from refbench.engine.job.request import open_scene
from refbench.engine.sweeps.finished import by_scene
from refbench.engine.sweeps.store import MANIFEST_FILE
from refbench.formats.raster import open_dsm
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
    from refbench.engine.sweeps.finished import SweepCell
    from refbench.reporting.page.model import Plot, SceneView
    from refbench.reporting.tables.rows import Row, SweepData


def sweep_page(out: Path) -> Page:
    """Return the page of a sweep; raises ``InputError`` where ``out`` holds none."""
    document, data = sweep_tables(out), read_data(out)
    cells = [cell for row in data.rows for cell in row.cells]
    ends = [cell.result.status.value for cell in cells]
    counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(sorted(ends, key=lambda e: e != "ok")))
    manifest = out / MANIFEST_FILE
    return Page(
        document.title,
        f"{len(cells)} cells: {counts}",
        document.tables,
        document.all_notes("Bold", "Underlined"),
        tuple(view for scene, of in by_scene(cells).items() if (view := _view(scene, of)) is not None),
        tuple(plot for plot in _plots(data) if plot is not None),
        tuple(as_run(cell.result, cell.id, _command(cell)) for cell in sorted(cells, key=lambda c: (c.is_ok, c.id))),
        ((("Manifest", json.dumps(json.loads(manifest.read_text()), indent=2)),) if manifest.is_file() else ()),
    )


def _view(name: str, cells: Sequence[SweepCell]) -> SceneView | None:
    """Return the surfaces of a scene: of every method its first seed."""
    refined: dict[str, RasterSource[DSM]] = {}
    for cell in cells:
        if cell.dsm_path is not None and cell.label not in refined:
            refined[cell.label] = open_dsm(cell.dsm_path)
    if not refined:
        return None
    sources: dict[str, RasterSource[DSM]] = {}
    try:
        scene = open_scene(next(cell for cell in cells if cell.dsm_path is not None).request())
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
    seconds = [cell.result.cost.cpu_s for cell in row.cells if cell.is_ok and cell.result.cost.cpu_s]
    if figure.value is None or not seconds:
        return None
    return Point(row.name, sum(seconds) / len(seconds), figure.value, figure.low, figure.high)


def _command(cell: SweepCell) -> str:
    try:
        return command_line(cell.request())
    except RefbenchError:
        return ""
