"""What every method costs: time, memory, throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.reporting.tables.model import MISSING, Column, Entry, Table, text_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refbench.engine.sweeps.finished import SweepJob
    from refbench.reporting.tables.rows import Row

REFINE = "refine"
COLUMNS = (
    text_column("scene", "scene"),
    text_column("method", "method"),
    text_column("status", "status"),
    Column("cpu_s", "CPU (s)", "↓", formula="user and system time of the job's process and its children"),
    Column("wall_s", "wall (s)", "↓", formula="wall time of the job"),
    Column("peak_mib", "peak memory (MiB)", "↓", formula="largest resident set of the job's process"),
    Column("refine_s", "refining (s)", "↓", formula="wall time of the refinement alone"),
    Column("px_per_s", "px/s", "↑", formula="pixels of the DSM over the wall time of the refinement"),
    Column("km2_per_h", "km²/h", "↑", formula="area of the DSM over the wall time of the refinement"),
)
NOTES = (
    "Cost is the whole job's: reading, refining, scoring. Throughput is of the refinement alone; a small scene "
    "understates it. Means over seeds.",
)


def cost_table(rows: Sequence[Row], comparisons: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the cost of every method on every scene; of jobs that did not end ok, until they ended."""
    found = []
    for row in rows:
        costs = [job.result.cost for job in row.jobs if job.result.cost.wall_s is not None]
        if not costs:
            continue
        area = comparisons[row.scene].get("areas", {}).get(row.label)
        refining = _mean([_phase(job) for job in row.jobs if job.is_ok])
        values = {
            "cpu_s": _mean([cost.cpu_s for cost in costs]),
            "wall_s": _mean([cost.wall_s for cost in costs]),
            "peak_mib": _mean([_mib(cost.peak_memory_bytes) for cost in costs]),
            "refine_s": refining,
            "px_per_s": area["pixels"] / refining if area and refining else None,
            "km2_per_h": 3600 * area["km2"] / refining if area and refining else None,
        }
        texts = [Entry(row.scene), Entry(row.name), Entry(row.status)]
        found.append((*texts, *(_entry(value) for value in values.values())))
    return Table("cost", "Cost", COLUMNS, tuple(found), NOTES)


def _phase(job: SweepJob) -> float | None:
    return next((phase.wall_s for phase in job.result.phases if phase.name == REFINE), None)


def _mib(size: int | None) -> float | None:
    return None if size is None else size / (1 << 20)


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(np.mean(given)) if given else None


def _entry(value: float | None) -> Entry:
    """Return a cost with about three significant digits."""
    if value is None:
        return Entry(MISSING)
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return Entry(f"{value:,.{decimals}f}", value)
