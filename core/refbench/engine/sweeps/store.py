"""The folder of a sweep: who may use it, what is finished in it, and putting rows into it whole."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.engine.job.manifest import manifest
from refbench.engine.job.result import RESULT_FILE, Result, read_result, write_result
from refbench.engine.sweeps.jobs import JOBS_FOLDER, OLD_JOBS_FOLDER, jobs_folder
from refbench.files.atomic import atomic_file
from refbench.files.hashing import hash_values
from refbench.files.posix import require_posix, try_lock
from refbench.files.regular import remove
from refbench.files.yaml_text import parse_yaml
from refbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from refbench.engine.job.parts import Part
    from refbench.engine.job.result import Status
    from refbench.engine.sweeps.jobs import PlannedJob
    from refbench.engine.sweeps.suite import Suite

SUITE_FILE = "suite.yaml"
MANIFEST_FILE = "manifest.json"
KEY_FILE = "key.json"
REQUEST_FILE = "request.json"
PLAN_FILE = "plan.json"
"""In the folder of a shard: which part it is, and the jobs of all parts."""
LOCK_FILE = ".lock"
_UNFINISHED = ("*.partial-*", "*.old-*")


@contextmanager
def sweep_folder(out: Path, suite: Suite, resume: bool) -> Iterator[Path]:
    """Give the folder of a sweep, locked against a second sweep, with its suite and manifest written.

    Raises
    ------
    InputError
        It holds a sweep and ``resume`` is False, a sweep of another suite, other files, or another process works in it.
    UnsupportedError
        The system has no processes and locks of POSIX.
    """
    with locked_sweep(out, suite.name, resume):
        with atomic_file(out / SUITE_FILE) as file:
            file.write(suite.dump().encode())
        facts = {"suite": suite.name, "suite_sha256": hash_values(asdict(suite)), "source": suite.source, **manifest()}
        with atomic_file(out / MANIFEST_FILE) as file:
            file.write(json.dumps(facts, indent=2).encode() + b"\n")
        yield out


@contextmanager
def locked_sweep(out: Path, suite: str, resume: bool) -> Iterator[None]:
    """Keep a second sweep out of a folder meanwhile, which is new or holds the suite of that name.

    Raises
    ------
    InputError
        As ``sweep_folder``.
    """
    require_posix("A sweep")
    _check_free(out, suite, resume)
    try:
        jobs_folder(out).mkdir(parents=True, exist_ok=True)
        lock = (out / LOCK_FILE).open("a")
    except OSError as error:
        raise InputError(f"Cannot make the folder {out}: {error.strerror}.") from error
    with lock:
        if not try_lock(lock.fileno()):
            raise InputError(f"Another refbench bench works in {out}; wait for it or give another --out.")
        _move_old_jobs(out)
        remove_unfinished(out)
        try:
            yield
        finally:
            remove_unfinished(out)


def write_plan(folder: Path, part: Part, suite: Suite, ids: Sequence[str]) -> None:
    """Write down which part of which jobs a shard's folder holds.

    The suite's hash leaves out where its file lies: shards may run where paths differ.
    """
    said = {key: value for key, value in asdict(suite).items() if key not in ("source", "shipped")}
    facts = {"index": part.index, "of": part.of, "suite": suite.name, "sha256": hash_values(said), "jobs": list(ids)}
    with atomic_file(folder / PLAN_FILE) as file:
        file.write(json.dumps(facts, indent=1).encode() + b"\n")


def _check_free(out: Path, suite: str, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder.")
    if not out.exists():
        return
    if not (out / SUITE_FILE).exists():
        # Another process may be writing the suite this moment, or was killed when it did.
        names = (path.name for path in out.iterdir() if not path.name.startswith(f".{SUITE_FILE}."))
        if foreign := next((name for name in names if name not in (LOCK_FILE, JOBS_FOLDER)), None):
            raise InputError(f"--out {out} holds other files, such as {foreign}; give an empty or a new folder.")
        return
    if not resume:
        raise InputError(f"--out {out} already holds a sweep; continue it with --resume or give another folder.")
    name = (parse_yaml((out / SUITE_FILE).read_text(encoding="utf-8")) or {}).get("name")
    if name != suite:
        raise InputError(f"--out {out} holds a sweep of suite {name}, not of {suite}; give another folder.")


def _move_old_jobs(out: Path) -> None:
    """Give the folder of an older sweep's jobs its name of today; nobody else works in it."""
    if (old := out / OLD_JOBS_FOLDER).is_dir() and not (out / JOBS_FOLDER).exists():
        old.rename(out / JOBS_FOLDER)


def remove_unfinished(out: Path) -> None:
    """Remove what a killed sweep left half-written; the lock says that nobody works on it."""
    for pattern in _UNFINISHED:
        for path in (out / JOBS_FOLDER).glob(pattern):
            remove(path)


def finished(job: PlannedJob) -> Result | None:
    """Return the result of a job that is there with the same key, None where it is missing, stale or damaged."""
    folder = job.request.folder
    try:
        key = json.loads((folder / KEY_FILE).read_text())["key"]
        result = read_result(folder / RESULT_FILE)
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None
    if key != job.key:
        return None
    if job.ending is not None and (result.status, result.reason) != job.ending:
        return None
    return result


def unplanned(out: Path, jobs: tuple[PlannedJob, ...]) -> list[str]:
    """Return the names of jobs in the folder that are not among ``jobs``."""
    known = {job.id for job in jobs}
    return sorted(path.name for path in (out / JOBS_FOLDER).iterdir() if path.is_dir() and path.name not in known)


def discard(folder: Path) -> None:
    """Remove the folder of a stale job: out of the way at once, then file by file."""
    if folder.exists():
        old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
        remove(old)
        folder.rename(old)
        remove(old)


def write_key(folder: Path, job: PlannedJob) -> None:
    """Write ``request.json`` and ``key.json`` beside a result, the key last: it says that all is there."""
    facts = {"key": job.key, "label": job.label, "scene": job.scene, "seed": job.seed, "parts": job.parts}
    for name, text in ((REQUEST_FILE, job.request.to_json()), (KEY_FILE, json.dumps(facts, indent=1))):
        with atomic_file(folder / name) as file:
            file.write(text.encode() + b"\n")


def write_row(job: PlannedJob, status: Status, reason: str) -> Result:
    """Put the row of a job that no process ran, or whose result could not be taken, in place; return it."""
    result = Result(
        refbench_version=__version__,
        method=job.request.method,
        scene=job.scene,
        seed=job.seed,
        status=status,
        reason=reason,
        config=job.parts.get("config") or {},
        metrics_reason=f"Nothing was scored: the job is {status.value}.",
        created=_now(),
    )
    staging = staging_folder(job)
    discard(staging)
    staging.mkdir(parents=True)
    put_row(job, staging, result)
    return result


def staging_folder(job: PlannedJob) -> Path:
    """Return the folder beside a job's own where its row is made whole."""
    return job.request.folder.with_name(f"{job.id}.partial-{os.getpid()}")


def put_row(job: PlannedJob, staging: Path, result: Result) -> None:
    """Complete the row that lies in ``staging`` by its key and the scene's name in the suite; put it in place."""
    result.scene = job.scene
    write_key(staging, job)
    write_result(staging, result)
    discard(job.request.folder)
    staging.rename(job.request.folder)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
