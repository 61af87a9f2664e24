"""refbench from Python: run a method, run a suite, read results as a pandas frame. The same jobs as on the shell."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError, MissingExtraError
from refbench.engine.inputs.check import check_inputs
from refbench.engine.job.launch import run_job
from refbench.engine.job.request import FILES, JobRequest, check_files
from refbench.engine.job.result import RESULT_FILE, read_result
from refbench.engine.sweeps.finished import read_sweep
from refbench.engine.sweeps.jobs import jobs_folder
from refbench.engine.sweeps.run import run_sweep
from refbench.engine.sweeps.suite import load_suite
from refbench.files.out_guard import check_out, is_there
from refbench.python_arguments import check_mapping, check_names, check_path, check_seconds, check_text, check_whole
from refbench.python_words import speaks_python

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from refbench.engine.job.result import Result, Status

DOMAINS = {"input": "common", "refined": "common"}


@dataclass(frozen=True, slots=True, repr=False)
class BenchResult:
    """A finished sweep: its folder and its results by job."""

    folder: Path
    results: Mapping[str, Result]

    def __repr__(self) -> str:
        """Return the folder and how many jobs ended how."""
        found = Counter(result.status.value for result in self.results.values())
        ended = ", ".join(f"{count} {status}" for status, count in found.items())
        return f"BenchResult({self.folder}: {len(self.results)} jobs, {ended})"

    def _repr_html_(self) -> str:
        """Return a list of the jobs for notebooks."""
        rows = "".join(f"<li><code>{escape(repr(result))}</code></li>" for result in self.results.values())
        return f"<p><code>{escape(repr(self))}</code></p><ul>{rows}</ul>"

    def frame(self) -> pd.DataFrame:
        """Return the results as a frame; see ``results_frame``."""
        return results_frame(self.folder)


@speaks_python
def run(
    scene: str | Path | None = None,
    *,
    method: str,
    out: str | Path | None = None,
    config: str | Path | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    deadline_s: float | None = None,
    overwrite: bool = False,
    files: Mapping[str, Any] | None = None,
    no_bridges: Sequence[str] = (),
    resampling: str = "auto",
    back: bool = False,
    **overrides: Any,  # noqa: ANN401  # configuration values
) -> Result:
    """Refine a scene with a method in a process of its own, score it, and return the result.

    Parameters
    ----------
    scene
        Folder of a scene; None takes ``files``, else the embedded scene.
    method
        Name of the method.
    out
        Folder of ``dsm.tif`` and ``result.json``; None makes a temporary one (``result.outputs`` are relative to it,
        ``result.notes["folder"]`` names it).
    config, weights
        As on the command line: a name or a path.
    seed, device, threads, deadline_s
        As on the command line.
    overwrite
        Replace a result that is in ``out``.
    files
        Plain files instead of a scene: ``points``, ``dsm``, ``orthos`` and ``views`` (lists), ``ndvi``, ``reference``,
        ``masks`` (a mapping), ``gsd``, ``crs``, ``target_crs``, ``vertical``, ``height_unit``, ``nodata_in``,
        ``scene_id``.
    no_bridges
        Names of bridges that are switched off, such as ``images-to-orthos``.
    resampling
        Kernel by which rasters come to another grid: auto, nearest, bilinear, cubic or average.
    back
        Also write ``dsm_back.tif``: the refined DSM in the input's own CRS, grid and unit.
    overrides
        Configuration values; dots are written as two underscores (``inference__overlap=0.25``).

    Raises
    ------
    InputError
        Bad input; nothing was written.
    """
    if scene is not None and not isinstance(scene, str | Path):
        raise InputError(f"scene must be the folder of a scene, got a {type(scene).__name__}; write_scene makes one.")
    check_text("method", method)
    check_text("device", device)
    for name, value in (("out", out), ("config", config), ("weights", weights)):
        check_path(name, value)
    check_whole("seed", seed, 0)
    check_whole("threads", threads, 1, optional=True)
    check_seconds("deadline_s", deadline_s)
    check_names("no_bridges", no_bridges)
    check_mapping("files", files)
    check_files(files or {})
    options = {
        **(files or {}),
        "scene": scene,
        "config": config,
        "overrides": {key.replace("__", "."): value for key, value in overrides.items()},
        "weights": weights,
        "seed": seed,
        "device": device,
        "threads": threads,
        "timeout": deadline_s,
        "no_bridges": no_bridges,
        "resampling": resampling,
        "back": back,
    }
    request = JobRequest.from_options(method, options, _spelt)
    check_inputs(request)
    folder = Path(tempfile.mkdtemp(prefix="refbench-")) / "out" if out is None else Path(out)
    check_out(folder.absolute(), overwrite)
    request = replace(request, out=str(folder.absolute()))
    result = run_job(request, overwrite=overwrite)
    return result.model_copy(update={"notes": {**result.notes, "folder": str(folder.absolute())}})


@speaks_python
def bench(
    suite: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    resume: bool = False,
    only: Sequence[str] = (),
    retry: Collection[Status] = (),
    trust: bool = False,
) -> BenchResult:
    """Run a suite, shipped or a YAML file, and return its results; see ``refbench bench``.

    Raises
    ------
    InputError
        The suite or ``out`` cannot be used.
    """
    check_path("suite", suite, optional=False)
    check_path("out", out, optional=False)
    check_whole("workers", workers, 1)
    check_names("only", only)
    folder = Path(out)
    is_there(folder)
    found = run_sweep(load_suite(suite), folder, workers=workers, resume=resume, only=only, retry=retry, trust=trust)
    return BenchResult(folder, {job.id: result for job, result in found.items()})


def results_frame(folder: str | Path) -> pd.DataFrame:
    """Return the results below a folder, of a sweep or of one run, as a tidy frame.

    One row per job, surface (``input``, ``refined``), domain (``common``, ``own``) and stratum; the columns after
    these are the metrics, then ``status``, ``reason``, ``cpu_s``, ``wall_s`` and ``peak_memory_bytes``. A job that was
    not scored has one row without metrics.

    Raises
    ------
    MissingExtraError
        pandas is not installed.
    InputError
        There are no results.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("Frames need pandas: pip install 'refbench[notebook]' brings it.") from None
    path = Path(folder)
    if jobs_folder(path).is_dir():
        jobs = [(job.label, job.scene, job.result) for job in read_sweep(path)]
    elif (path / RESULT_FILE).is_file():
        result = read_result(path / RESULT_FILE)
        jobs = [(result.method, result.scene, result)]
    else:
        raise InputError(f"{path} holds neither a sweep nor a result.")
    return pd.DataFrame([row for label, scene, result in jobs for row in _rows(label, scene, result)])


def _rows(label: str, scene: str, result: Result) -> list[dict[str, Any]]:
    names = {"label": label, "method": result.method, "scene": scene, "seed": result.seed}
    cost = result.cost
    ends = {
        "status": result.status.value,
        "reason": result.reason,
        "cpu_s": cost.cpu_s,
        "wall_s": cost.wall_s,
        "peak_memory_bytes": cost.peak_memory_bytes,
    }
    metrics = result.metrics or {}
    surfaces = [(which, "common", metrics.get(which)) for which in ("input", "refined")]
    surfaces += [(which, "own", (metrics.get("own_domain") or {}).get(which)) for which in ("input", "refined")]
    rows = [
        {**names, "surface": which, "domain": domain, "stratum": stratum, **_numbers(values), **ends}
        for which, domain, strata in surfaces
        for stratum, values in (strata or {}).items()
        if isinstance(values, dict) and "mae" in values
    ]
    return rows or [{**names, **ends}]


def _numbers(values: Mapping[str, Any]) -> dict[str, float | None]:
    return {key: value for key, value in values.items() if not isinstance(value, (dict, list))}


def _spelt(name: str) -> str:
    """Return an argument of ``run`` by the name that ``JobRequest.from_options`` has for it."""
    return f"files[{name!r}]" if name in FILES else {"timeout": "deadline_s"}.get(name, name)
