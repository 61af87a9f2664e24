"""The finished jobs of a sweep, read from its folder whether the sweep has ended or not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, MissingFileError
from refbench.engine.job.request import JobRequest
from refbench.engine.job.result import RESULT_FILE, Result, Status, read_result
from refbench.engine.sweeps.jobs import JOBS_FOLDER, jobs_folder
from refbench.engine.sweeps.store import REQUEST_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

_JOB_ID = re.compile(r"(?P<label>.+?)--(?P<scene>.+)--seed(?P<seed>\d+)")


@dataclass(frozen=True, slots=True)
class SweepJob:
    """One job of a sweep: what its folder's name says, and its result."""

    label: str
    scene: str
    seed: int
    folder: Path
    result: Result

    @property
    def id(self) -> str:
        """The name of the folder: ``<label>--<scene>--seed<seed>``."""
        return self.folder.name

    @property
    def is_ok(self) -> bool:
        """Whether the job ended ok."""
        return self.result.status is Status.OK

    @property
    def dsm_path(self) -> Path | None:
        """The refined DSM; None where the job has none."""
        name = self.result.outputs.get("dsm")
        path = None if name is None else self.folder / name
        return path if self.is_ok and path is not None and path.is_file() else None

    def request(self) -> JobRequest:
        """Return what was asked of the job; a scene that lies in the sweep is looked for where the sweep is now.

        Raises
        ------
        MissingFileError
            The sweep kept no request.
        """
        path = self.folder / REQUEST_FILE
        if not path.is_file():
            raise MissingFileError(f"The job {self.id} has no {REQUEST_FILE}; run the sweep again with --resume.")
        request = JobRequest.from_json(path.read_text(encoding="utf-8"))
        scene, old = request.scene.path, request.folder.parent.parent
        if self.folder.parent.name != JOBS_FOLDER:  # a run by itself: its scene lies wherever the user has it
            return replace(request, out=str(self.folder))
        if scene is None or not Path(scene).is_relative_to(old):
            return request
        moved = self.folder.parent.parent / Path(scene).relative_to(old)
        return replace(request, out=str(self.folder), scene=replace(request.scene, path=str(moved)))


def read_sweep(out: Path) -> tuple[SweepJob, ...]:
    """Return the finished jobs of a sweep, ordered by scene, label and seed.

    Raises
    ------
    MissingFileError
        ``out`` is no folder of a sweep.
    InputError
        A result is not of the schema, or no job has finished.
    """
    folder = jobs_folder(out)
    if not folder.is_dir():
        if not out.is_dir():
            raise MissingFileError(f"There is no folder {out}.")
        raise MissingFileError(f"{out} holds no sweep: it has no folder {JOBS_FOLDER}. refbench bench makes one.")
    found = []
    for path in folder.iterdir():
        # Names of unfinished folders have a suffix, so they do not match.
        parts = _JOB_ID.fullmatch(path.name)
        if parts is not None and (path / RESULT_FILE).is_file():
            result = read_result(path / RESULT_FILE)
            found.append(SweepJob(parts["label"], parts["scene"], int(parts["seed"]), path, result))
    if not found:
        raise InputError(f"{out} holds no finished job yet.")
    return tuple(sorted(found, key=lambda job: (job.scene, job.label, job.seed)))


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of one run rather than of a sweep."""
    return (folder / RESULT_FILE).is_file() and not jobs_folder(folder).is_dir()


def read_run(folder: Path, label: str | None = None) -> SweepJob:
    """Return a run as the one job of a sweep, under ``label``, by default the name of its method.

    Raises
    ------
    InputError
        Its result is not of the schema.
    """
    result = read_result(folder / RESULT_FILE)
    return SweepJob(label or result.method, result.scene, result.seed, folder.absolute(), result)


def by_scene(jobs: Iterable[SweepJob]) -> dict[str, list[SweepJob]]:
    """Return scene -> its jobs, in order."""
    found: dict[str, list[SweepJob]] = {}
    for job in jobs:
        found.setdefault(job.scene, []).append(job)
    return found


def by_label(jobs: Iterable[SweepJob]) -> dict[str, list[SweepJob]]:
    """Return label -> its jobs, in order."""
    found: dict[str, list[SweepJob]] = {}
    for job in jobs:
        found.setdefault(job.label, []).append(job)
    return found
