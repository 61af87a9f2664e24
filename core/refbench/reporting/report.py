"""``report.html``: one self-contained page of one run."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from refbench.contracts.grid import Window
from refbench.engine.result import Status
from refbench.reporting.figures import (
    error_legend_png,
    error_png,
    error_scale,
    surface_png,
    thinning,
)
from refbench.reporting.summary import SHOWN, change, number
from refbench.scenes.atomic import atomic_file
from refbench.scenes.raster import open_dsm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.engine.result import Result

REPORT_FILE = "report.html"
_STRIP_ROWS = 256
_HELD_PX = 4_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the page: a caption and the PNG as base64."""

    caption: str
    data: str


def write_report(folder: Path, result: Result, scene: Scene | None = None) -> None:
    """Write ``report.html`` into the folder of a result: pictures, scores, configuration, cost, provenance."""
    pictures, legend = _pictures(folder, scene) if result.status is Status.OK and scene is not None else ([], None)
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    )
    page = template.render(
        result=result,
        pictures=pictures,
        legend=legend,
        rows=_score_rows(result),
        strata=_strata(result),
        config=json.dumps(result.config, indent=2, default=str),
        manifest=json.dumps(result.manifest, indent=2, default=str),
        notes={
            k: v if isinstance(v, (str, int, float)) else json.dumps(v, default=str) for k, v in result.notes.items()
        },
    )
    with atomic_file(folder / REPORT_FILE) as file:
        file.write(page.encode())


def _pictures(folder: Path, scene: Scene) -> tuple[list[Picture], str | None]:
    """Return the hillshades and error maps that the files allow, all on one height and one colour scale."""
    path = folder / "dsm.tif"
    if not path.exists():
        return [], None
    refined_source = open_dsm(path)
    grid = refined_source.grid
    step = thinning(grid.shape)
    surfaces: dict[str, NDArray[np.float32]] = {}
    if scene.dsm is not None and scene.dsm.grid == grid:
        surfaces["input"] = _thinned(scene.dsm, grid, step)
    surfaces["refined"] = _thinned(refined_source, grid, step)
    reference = scene.reference.dsm if scene.reference is not None else None
    if reference is not None and reference.grid == grid:
        surfaces["reference"] = _thinned(reference, grid, step)
    known = np.concatenate([heights[np.isfinite(heights)] for heights in surfaces.values()])
    low, high = (float(v) for v in np.percentile(known, (2, 98))) if known.size else (0.0, 1.0)
    gsd = grid.gsd * step
    pictures = [
        Picture(
            f"{name}, {100 * np.isfinite(heights).mean():.1f} % valid", _base64(surface_png(heights, gsd, low, high))
        )
        for name, heights in surfaces.items()
    ]
    if "reference" not in surfaces:
        return pictures, None
    truth = surfaces["reference"].astype(np.float64)
    errors = {name: heights - truth for name, heights in surfaces.items() if name != "reference"}
    scale = error_scale(*errors.values())
    pictures += [Picture(f"error of the {name}", _base64(error_png(error, scale))) for name, error in errors.items()]
    return pictures, _base64(error_legend_png(scale))


def _thinned(source: RasterSource[DSM], grid: Grid, step: int) -> NDArray[np.float32]:
    """Return every ``step``-th row and column, read by strips where the raster is large."""
    if grid.width * grid.height <= _HELD_PX:
        return source.read().heights[::step, ::step].copy()
    rows = []
    height = _STRIP_ROWS * step
    for first in range(0, grid.height, height):
        window = Window(0, first, grid.width, min(height, grid.height - first))
        rows.append(source.read(window).heights[::step, ::step])
    return np.concatenate(rows)


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _score_rows(result: Result) -> list[dict[str, str]]:
    if result.metrics is None:
        return []
    before = (result.metrics.get("input") or {}).get("all") or {}
    after = (result.metrics.get("refined") or {}).get("all") or {}
    return [
        {
            "label": f"{label} {arrow}",
            "input": number(before.get(key), key),
            "refined": number(after.get(key), key),
            "change": change(before.get(key), after.get(key)) if arrow == "↓" else "",
        }
        for key, label, arrow in SHOWN
    ]


def _strata(result: Result) -> list[dict[str, str]]:
    """Return MAE and NMAD per stratum, input against refined."""
    if result.metrics is None:
        return []
    refined: dict[str, Any] = result.metrics.get("refined") or {}
    initial: dict[str, Any] = result.metrics.get("input") or {}
    rows = []
    for name, after in refined.items():
        if not isinstance(after, dict) or "mae" not in after:
            continue
        before = initial.get(name) or {}
        rows.append(
            {
                "name": name.replace("_", " "),
                "n": f"{after.get('n') or 0:,}",
                "mae_input": number(before.get("mae"), "mae"),
                "mae": number(after.get("mae"), "mae"),
                "nmad_input": number(before.get("nmad"), "nmad"),
                "nmad": number(after.get("nmad"), "nmad"),
            }
        )
    return rows
