"""The rows of a sweep's tables: one method on one scene, with what the comparison found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from refbench.engine.sweeps.common_domain import compare_sweep
from refbench.engine.sweeps.finished import by_label, by_scene, read_sweep
from refbench.evaluation.comparison import DOMAINS
from refbench.reporting.tables.model import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.engine.sweeps.finished import SweepJob

INITIAL = "initial DSM"
NOT_STRATA = ("spread", "intervals", "shape")


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one scene, all seeds; ``label`` None is the initial DSM."""

    scene: str
    label: str | None
    jobs: tuple[SweepJob, ...] = ()
    found: dict[str, Any] = field(default_factory=dict)
    """Its row of the comparison: ``common`` and ``own``."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        return INITIAL if self.label is None else self.label

    @property
    def status(self) -> str:
        """``ok``, or how many seeds ended how."""
        ends = [job.result.status.value for job in self.jobs]
        counts = {end: ends.count(end) for end in dict.fromkeys(ends)}
        if len(counts) > 1:
            return ", ".join(f"{number} {end}" for end, number in counts.items())
        return f"{ends[0]}, {len(ends)} seeds" if len(ends) > 1 else "".join(ends)

    def values(self, domain: str, stratum: str) -> dict[str, Any]:
        """Return metric -> value; from the results where the scene was not compared."""
        if self.found:
            return dict(self.found[domain].get(stratum) or {})
        if domain == "common":
            return {}
        scored = [
            of for job in self.jobs if (of := ((job.result.metrics or {}).get("own_domain") or {}).get("refined"))
        ]
        return dict(scored[0].get(stratum) or {}) if len(scored) == 1 else {}

    def figure(self, domain: str, stratum: str, key: str) -> Figure:
        """Return one number with its interval and spread."""
        value = self.values(domain, stratum).get(key)
        of = self.found.get(domain, {})
        interval = of.get("intervals", {}).get(stratum, {}).get(key) or {}
        spread = of.get("spread", {}).get(stratum, {}).get(key)
        return Figure(value, interval.get("low"), interval.get("high"), spread)


@dataclass(frozen=True, slots=True)
class SweepData:
    """What the tables of a sweep are made of."""

    out: Path
    rows: tuple[Row, ...]
    comparisons: dict[str, dict[str, Any]]

    def strata(self) -> list[str]:
        """Return the strata that any row has, in order."""
        found: dict[str, None] = {}
        for row in self.rows:
            for domain in DOMAINS if row.found else ():
                found |= dict.fromkeys(name for name in row.found[domain] if name not in NOT_STRATA)
        return list(found)


def read_data(out: Path) -> SweepData:
    """Read a sweep and compare its jobs where that was not done yet.

    Raises
    ------
    InputError
        ``out`` holds no sweep.
    """
    comparisons = compare_sweep(out)
    rows = []
    for scene, jobs in by_scene(read_sweep(out)).items():
        found = comparisons[scene]
        if found.get("input"):
            rows.append(Row(scene, None, (), found["input"]))
        of_scene = [
            Row(scene, label, tuple(of), found.get("methods", {}).get(label, {}))
            for label, of in by_label(jobs).items()
        ]
        rows += sorted(of_scene, key=_order)
    return SweepData(out, tuple(rows), comparisons)


def _order(row: Row) -> tuple[bool, float, str]:
    value = row.values("common", "all").get("mae")
    return value is None, value or 0.0, row.name
