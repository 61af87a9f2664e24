"""The process around the method: no network, files only where they belong, the job of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.engine.job.launch import run_job
from refbench.engine.job.result import Status
from refbench.formats.raster import open_dsm
from refbench.scenes.scene_yaml import load_scene
from refbench.testing.check import check
from refbench.testing.require import applies, require
from refbench.testing.subject import describe, ended_well, largest

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.testing.subject import Subject

_SAME_PROCESS_M = 1e-3


@check("no-network", after=("loads",))
def no_network(subject: Subject) -> None:
    """It opens no connection."""
    tried = subject.standard.network
    require(not tried, f"it wants the network: {tried[0] if tried else ''}")


@check("writes-inside", after=("runs", "no-network"))
def writes_inside(subject: Subject) -> None:
    """It writes files only to context.scratch."""
    written = subject.standard.written
    require(not written, f"it wrote {', '.join(dict.fromkeys(written))}; write to context.scratch")


@check("subprocess", after=("deterministic", "finite", "dtype", "grid", "writes-inside"))
def subprocess_alike(subject: Subject) -> None:
    """The job of ``refbench run`` gives what the class gives in this process, and leaves the scene's folder alone."""
    folder = subject.written_scene("scene", subject.scene())
    here = ended_well(subject.trial(load_scene(folder)))
    applies(here.heights is not None, "it gives no DSM")
    assert here.heights is not None
    before, out = _listing(folder), subject.folder / "job"
    try:
        result = run_job(subject.request(str(out), folder))
    except InputError as error:
        require(False, f"its job refused the scene: {describe(error)}")
        return
    require(result.status is Status.OK, f"its job ended {result.status.value}: {result.reason}")
    there = open_dsm(out / result.outputs["dsm"]).read().heights
    apart = largest(np.asarray(there), here.heights)
    require(apart <= _SAME_PROCESS_M, f"its job gives heights that differ by up to {apart:.3g} m")
    added = sorted(_listing(folder) ^ before)
    require(not added, f"its job changed the scene's folder: {', '.join(added)}")


def _listing(folder: Path) -> set[str]:
    return {f"{path.relative_to(folder)} ({path.stat().st_mtime_ns})" for path in folder.rglob("*") if path.is_file()}
