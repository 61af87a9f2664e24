"""Joining the shards of a sweep: one folder as if one machine had run it, nothing missing unnoticed, nothing twice."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.engine.job.parts import assigned
from refbench.engine.job.result import RESULT_FILE, Result, Status, read_result
from refbench.engine.sweeps.check import result_faults
from refbench.engine.sweeps.jobs import JOBS_FOLDER, SCENES_FOLDER
from refbench.engine.sweeps.made_scenes import RECIPE_FILE
from refbench.engine.sweeps.store import KEY_FILE, MANIFEST_FILE, PLAN_FILE, SUITE_FILE, discard, locked_sweep
from refbench.files.atomic import atomic_file
from refbench.files.regular import read_regular, remove

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Shard:
    """The folder of one shard and its plan: part ``index`` of ``of``, the jobs of all parts."""

    folder: Path
    index: int
    of: int
    suite: str
    sha256: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A whole row that a shard holds: its folder, key with parts, result."""

    folder: Path
    key: str | None
    parts: dict[str, Any]
    result: Result


@dataclass(frozen=True, slots=True)
class Merged:
    """What joining found. ``missing`` is job -> why, with the shard that should bring it."""

    jobs: int
    joined: int
    missing: dict[str, str] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    """Jobs that more than one shard holds, equal by hash."""


def read_shard(folder: Path) -> Shard:
    """Return what a shard's folder says of itself.

    Raises
    ------
    InputError
        It has no plan, or one that cannot be read.
    """
    try:
        facts = json.loads(read_regular(folder / PLAN_FILE, _LIMIT))
        jobs = tuple(str(name) for name in facts.pop("jobs"))
        return Shard(folder.absolute(), **facts, jobs=jobs)
    except (InputError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{folder} is no shard of a sweep: its {PLAN_FILE} cannot be read ({error}).") from error


def merge_shards(folders: Sequence[Path], out: Path, *, partial: bool = False) -> Merged:
    """Join shards into the sweep ``out``; the shards stay as they are.

    Files are linked where the file system allows it, else copied; every job appears whole or not at all. Joining again
    replaces what has changed.

    Parameters
    ----------
    folders
        Folders of shards of one suite, any number of parts.
    out
        Folder of the sweep.
    partial
        Join what is there although jobs are missing; else nothing is written then.

    Raises
    ------
    InputError
        The shards are of different suites, plans or code, two hold different results of one job, or ``out`` holds
        something else.
    """
    shards = [read_shard(folder) for folder in folders]
    _check_same(shards)
    found, faults, repeated = _collect(shards)
    _check_code(found.values())
    missing = _missing(shards, found, faults)
    if missing and not partial:
        return Merged(len(shards[0].jobs), 0, missing, repeated)
    out = out.absolute()
    with locked_sweep(out, shards[0].suite, resume=True):
        for name, row in found.items():
            _put(row.folder, out / JOBS_FOLDER / name)
        for scene in sorted(path for shard in shards for path in (shard.folder / SCENES_FOLDER).glob("*")):
            if not (out / SCENES_FOLDER / scene.name / RECIPE_FILE).is_file():
                _put(scene, out / SCENES_FOLDER / scene.name)
        for name in (SUITE_FILE, MANIFEST_FILE):
            with atomic_file(out / name) as file:
                file.write(read_regular(shards[0].folder / name, _LIMIT))
    return Merged(len(shards[0].jobs), len(found), missing, repeated)


def _check_same(shards: Sequence[Shard]) -> None:
    first = shards[0]
    for shard in shards[1:]:
        if (shard.suite, shard.sha256) != (first.suite, first.sha256):
            raise InputError(
                f"{first.folder} and {shard.folder} are of different suites; give the shards of one, run from one file."
            )
        if differing := sorted(set(shard.jobs) ^ set(first.jobs)):
            raise InputError(
                f"{first.folder} and {shard.folder} planned different jobs, such as {differing[0]}; run both with the "
                "same plugins, scenes and --only."
            )


def _collect(shards: Sequence[Shard]) -> tuple[dict[str, _Found], dict[str, str], tuple[str, ...]]:
    """Return job -> its row, job -> why a row of it cannot be taken, and the jobs that were there twice."""
    found: dict[str, _Found] = {}
    faults: dict[str, str] = {}
    repeated: dict[str, None] = {}
    for shard in shards:
        for name in shard.jobs:
            folder = shard.folder / JOBS_FOLDER / name
            if not folder.is_dir():
                continue
            if (fault := next(iter(result_faults(folder)), None)) is not None:
                faults[name] = fault
                continue
            row = _row(folder)
            if name in found:
                repeated[name] = None
                row = _one_of(name, found[name], row)
            found[name] = row
    return found, faults, tuple(repeated)


def _row(folder: Path) -> _Found:
    try:
        facts = json.loads(read_regular(folder / KEY_FILE, _LIMIT))
        return _Found(folder, facts["key"], facts["parts"], read_result(folder / RESULT_FILE))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / KEY_FILE} cannot be read: {error}; run the shard again.") from error


def _one_of(name: str, first: _Found, second: _Found) -> _Found:
    """Return one of two rows of a job: the one that ended ok, any where they are equal by hash.

    Raises
    ------
    InputError
        Both ended ok with different keys or outputs.
    """
    rows = [row for row in (first, second) if row.result.status is Status.OK]
    if len(rows) < 2:
        return rows[0] if rows else first
    if first.key != second.key:
        differing = [part for part in sorted(first.parts) if first.parts[part] != second.parts.get(part)]
        raise InputError(
            f"{name}: {first.folder} and {second.folder} ran it with different {', '.join(differing)}; remove one."
        )
    outputs = [row.result.hashes.outputs for row in rows]
    if outputs[0] != outputs[1]:
        differing = sorted(file for file in {*outputs[0], *outputs[1]} if outputs[0].get(file) != outputs[1].get(file))
        raise InputError(
            f"{name}: {first.folder} and {second.folder} hold different {', '.join(differing)} (by SHA-256) of the "
            "same inputs; find out why, then remove one of them."
        )
    return first


def _check_code(rows: Iterable[_Found]) -> None:
    """Refuse rows of one table that different code of refbench made."""
    known: dict[str, Path] = {}
    for row in rows:
        if row.key is not None:
            known.setdefault(str(row.parts.get("core")), row.folder)
    if len(known) > 1:
        first, second, *_ = known.values()
        raise InputError(f"{first} and {second} were run by different versions of refbench; run the older shard again.")


def _missing(shards: Sequence[Shard], found: dict[str, _Found], faults: dict[str, str]) -> dict[str, str]:
    """Return job -> a phrase on where it should have come from, for all that no shard brings."""
    of = shards[0].of
    there = {shard.index for shard in shards if shard.of == of}
    missing = {}
    for name, part in zip(shards[0].jobs, assigned(shards[0].jobs, of), strict=True):
        if name not in found:
            told = "has not run it" if part in there else "is not there"
            missing[name] = faults.get(name) or f"shard {part} of {of} {told}"
    return missing


def _put(source: Path, target: Path) -> None:
    """Put a copy of a folder in place, whole; hard links where the file system allows them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f"{target.name}.partial-{os.getpid()}")
    remove(staging)
    shutil.copytree(source, staging, copy_function=_link)
    discard(target)
    staging.rename(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
