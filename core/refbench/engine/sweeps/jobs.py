"""The jobs of a suite: every method on every scene with every seed that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, InputError
from refbench.engine.job.request import JobRequest
from refbench.engine.job.result import Status
from refbench.engine.scoring.assess import check_assessors
from refbench.engine.sweeps.cache_key import facts_from, job_key
from refbench.engine.sweeps.suite import ALL, MethodEntry, Suite
from refbench.engine.sweeps.suite_scenes import PlannedScene, plan_scenes, ready_scene, safe_name
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JOBS_FOLDER = "jobs"
OLD_JOBS_FOLDER = "cells"
"""Where sweeps up to schema version 2 of results kept their jobs."""
SCENES_FOLDER = "scenes"


@dataclass(frozen=True, slots=True)
class Row:
    """One job by name: what ``--only`` looks at and a dry run shows. ``facts``: see ``cache_key.method_facts``."""

    entry: MethodEntry
    label: str
    scene: PlannedScene
    seed: int
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the job's folder."""
        return f"{self.label}--{self.scene.name}--seed{self.seed}"

    @property
    def skipped(self) -> str | None:
        """Why it cannot run here, as far as that is known before anything is opened."""
        reason: str | None = self.facts["skipped"]
        return reason if reason is not None else self.scene.missing


@dataclass(frozen=True, slots=True, eq=False)
class PlannedJob:
    """A job that is ready to run, or ends by ``ending`` (status and reason) without a process.

    ``key`` is the hash of ``parts``, everything that the result depends on; None where the job cannot run.
    """

    id: str
    label: str
    scene: str
    seed: int
    request: JobRequest
    key: str | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    ending: tuple[Status, str] | None = None


def jobs_folder(out: Path) -> Path:
    """Return the folder of a sweep's jobs; that of an older sweep where there is no other."""
    new, old = out / JOBS_FOLDER, out / OLD_JOBS_FOLDER
    return old if old.is_dir() and not new.is_dir() else new


def plan_rows(suite: Suite, only: Sequence[str] = ()) -> tuple[Row, ...]:
    """Return the jobs of a suite by name, scene by scene; methods without chance run with the first seed only.

    Parameters
    ----------
    suite
        The suite.
    only
        Patterns such as ``implicity*``; a job stays where its id, label, method or scene matches one. Empty: all.

    Raises
    ------
    InputError
        A configuration with mistakes, a missing file, two rows of one label, or nothing left by ``only``.
    """
    methods = _labelled(suite)
    scenes = plan_scenes(suite)
    rows = [
        Row(entry, label, scene, seed, facts)
        for scene in scenes
        for label, (entry, facts) in methods.items()
        for seed in (suite.seeds if facts.get("stochastic") else suite.seeds[:1])
    ]
    kept = tuple(
        row
        for row in rows
        if not only
        or any(
            fnmatchcase(name, pattern)
            for pattern in only
            for name in (row.id, row.label, row.entry.method, row.scene.name)
        )
    )
    if not kept:
        labels, names = ", ".join(methods), ", ".join(scene.name for scene in scenes)
        raise InputError(
            f"--only {' '.join(only)} leaves no job of suite {suite.name}; methods: {labels}; scenes: {names}."
        )
    return kept


def seed_note(suite: Suite, rows: Sequence[Row]) -> str:
    """Return a sentence on the methods that run with the first of several seeds only; empty where there are none."""
    once = dict.fromkeys(row.label for row in rows if row.skipped is None and not row.facts.get("stochastic"))
    if len(suite.seeds) < 2 or not once:
        return ""
    return f"Seed {suite.seeds[0]} only, as nothing in them is drawn by chance: {', '.join(once)}."


def _labelled(suite: Suite) -> dict[str, tuple[MethodEntry, dict[str, Any]]]:
    """Return label -> entry and facts, with ``all`` and ``needing`` spelt out."""
    entries = list(dict.fromkeys(_Hashable(entry) for item in suite.methods for entry in _expanded(item)))
    found: dict[str, tuple[MethodEntry, dict[str, Any]]] = {}
    for entry in (item.entry for item in entries):
        stem = "" if entry.config is None else f"-{Path(entry.config).stem}"
        label = entry.label or safe_name(f"{entry.method}{stem}")
        if label in found:
            raise ConfigError(f"{suite.source}: methods: two entries are called {label}; give one of them a label.")
        found[label] = (entry, facts_from(entry, suite.budgets.steps))
    if not found:
        raise InputError(f"{suite.source}: methods: no installed method fits; refbench methods lists them.")
    return found


@dataclass(frozen=True, slots=True)
class _Hashable:
    """An entry that can be looked up: it holds a mapping, which has no hash."""

    entry: MethodEntry

    def __hash__(self) -> int:
        return hash((self.entry.method, self.entry.label, self.entry.config))


def _expanded(entry: MethodEntry) -> list[MethodEntry]:
    if entry.method != ALL:
        return [entry]
    wanted = set(entry.needing)
    return [
        replace(entry, method=record.name, needing=())
        for record in load_registry().methods
        if not wanted or wanted & {need.value for need in (*record.needs, *record.optional)}
    ]


def plan_jobs(
    suite: Suite,
    out: Path,
    only: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
    rows: tuple[Row, ...] | None = None,
) -> tuple[PlannedJob, ...]:
    """Return the jobs of a suite, ready to run; scenes that have to be made are made once, below ``out``/scenes.

    Parameters
    ----------
    suite
        The suite.
    out
        Folder of the sweep.
    only
        See ``plan_rows``.
    note
        Told what is being done: making a scene takes its time.
    rows
        What ``plan_rows`` said, or a part of it; None asks it.

    Raises
    ------
    InputError
        See ``plan_rows``.
    """
    check_assessors(tuple(suite.assessors))
    rows = plan_rows(suite, only) if rows is None else rows
    if said := seed_note(suite, rows):
        note(said)
    scenes = {}
    for row in rows:
        if row.scene.name not in scenes and row.facts["skipped"] is None:
            note(f"scene {row.scene.name}")
            scenes[row.scene.name] = ready_scene(row.scene, out / SCENES_FOLDER)
    jobs = []
    for row in rows:
        ready = scenes.get(row.scene.name)
        request = _request(suite, row, out)
        if row.facts["skipped"] is not None or ready is None:
            ending: tuple[Status, str] | None = (Status.SKIPPED, str(row.facts["skipped"]))
            jobs.append(PlannedJob(row.id, row.label, row.scene.name, row.seed, request, ending=ending))
            continue
        parts = _parts(suite, row, ready.key)
        jobs.append(
            PlannedJob(
                row.id,
                row.label,
                row.scene.name,
                row.seed,
                replace(request, scene=ready.request),
                job_key(parts) if ready.ending is None else None,
                parts,
                ready.ending,
            )
        )
    return tuple(jobs)


def _parts(suite: Suite, row: Row, scene: str | None) -> dict[str, Any]:
    known = {name: row.facts[name] for name in ("code", "config", "weights", "version", "core")}
    return {
        "method": row.entry.method,
        **known,
        "env": row.entry.env,
        "scene": scene,
        "seed": row.seed,
        "device": suite.device,
        "protocol": suite.protocol.of_jobs,
        "assessors": suite.assessors,
    }


def _request(suite: Suite, row: Row, out: Path) -> JobRequest:
    budgets = suite.budgets
    return JobRequest(
        method=row.entry.method,
        scene=row.scene.request,
        out=str((out / JOBS_FOLDER / row.id).absolute()),
        config=row.entry.config,
        overrides=row.facts.get("overrides", row.entry.overrides),
        weights=row.entry.weights,
        seed=row.seed,
        device=suite.device,
        threads=budgets.threads,
        memory_budget_bytes=budgets.memory_bytes,
        memory_cap_bytes=budgets.memory_cap_bytes,
        deadline_s=budgets.deadline_s,
        coregister=suite.protocol.coregister,
        resampling=suite.protocol.resampling,
        assessors=tuple(suite.assessors),
        assessor_options={f"{name}.{key}": value for name, of in suite.assessors.items() for key, value in of.items()},
        python=row.entry.env,
    )
