"""What ``--dry-run`` of ``refbench run`` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from refbench.engine.inputs.forecast import forecast
from refbench.engine.job.result import Status
from refbench.reporting.terminal import echo

if TYPE_CHECKING:
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.engine.inputs.forecast import Forecast
    from refbench.engine.job.request import JobRequest


def dry_run(request: JobRequest, config: ResolvedConfig) -> int:
    """Print scene, method, weights that will run, bridges and cost; return the exit code."""
    found = forecast(request, config)
    lines = [("scene", f"{found.scene.id}: {_extent(found)}"), ("method", _method(found))]
    if found.weights is not None:
        lines.append(("weights", str(found.weights)))
    lines += [("bridges" if index == 0 else "", line) for index, line in enumerate(found.preparation.lines())]
    lines.append(("estimate", _cost(found)))
    lines += [("note", text) for text in found.remarks]
    for name, text in lines:
        echo(f"{name:8} {text}")
    return Status.OK.exit_code


def _extent(found: Forecast) -> str:
    """Return the grid, else the sizes of the views."""
    if found.scene.grid is not None:
        return repr(found.scene.grid)
    shapes = {view.image.shape for view in found.scene.views.values()}
    sizes = ", ".join(f"{cols} x {rows} px" for rows, cols in sorted(shapes)[:3])
    return f"{len(found.scene.views)} views of {sizes}, no grid" if shapes else "the grid follows from the points"


def _method(found: Forecast) -> str:
    return f"{found.record.name} ({found.record.summary}), config {found.config.source}"


def _cost(found: Forecast) -> str:
    """Return pixels, memory and CPU time."""
    size = f"{pixels(found.pixels)}, " if found.pixels else ""
    if found.cost is None or not math.isfinite(found.cost.seconds):
        return f"{size}cost not known: the method states no speed"
    return f"{size}about {found.cost.bytes / (1 << 20):,.0f} MiB and {seconds(found.cost.seconds)} of CPU time"


def pixels(count: int) -> str:
    """Return a number of pixels with two digits at least, such as ``0.050 Mpx``."""
    return f"{count / 1e6:.2f} Mpx" if count >= 100_000 else f"{count:,} px"


def seconds(value: float) -> str:
    """Return a time with two digits: ``4.2 s``, ``35 s``, ``12 min``, ``2.5 h``."""
    if value < 120:
        return f"{value:.2g} s" if value < 100 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
