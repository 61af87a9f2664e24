"""Comparing the jobs of a sweep scene by scene on their common domain: ``OUT/comparison/<scene>.json`` and ``.npz``.

``<scene>_blocks.npz`` holds metrics per tile (a square block of 64 pixels of the reference's grid, row by row from the
upper left; of ``block_shape`` rows and columns, which differ where pixels are oblong): ``runs`` [R], the id of a job
each, or ``input`` for the initial DSM; ``block_px``, ``block_shape``, ``block_rows`` and ``block_cols``; and for the
domains ``common`` and ``own`` the sums ``<domain>_n``, ``<domain>_sum_e``, ``<domain>_sum_abs_e`` and
``<domain>_sum_e2``, float64 [R, blocks]; NaN where a run is not in that domain.

``<scene>_samples.npz`` holds the bootstrap samples behind the intervals, float64 [repeats], under
``<number>/<domain>/<stratum>/<metric>``; number 0 is the initial DSM, the others follow ``methods`` of the JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError, RefbenchError
from refbench.engine.inputs.scene import open_scene
from refbench.engine.job.result import json_ready
from refbench.engine.scoring.score import COREGISTRATION
from refbench.engine.sweeps.cache_key import core_code
from refbench.engine.sweeps.finished import by_label, by_scene, read_sweep
from refbench.evaluation.comparison import BLOCK_KEYS, DOMAINS, INPUT, Comparison, compare
from refbench.evaluation.grids import on_grid
from refbench.evaluation.layer_strata import scene_masks
from refbench.evaluation.shift import Shift, shifted
from refbench.files.atomic import atomic_file
from refbench.files.hashing import hash_values
from refbench.formats.raster import open_written_dsm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM, Mask
    from refbench.contracts.scene import Scene
    from refbench.engine.sweeps.finished import SweepJob

COMPARISON = "comparison"
SCHEMA_VERSION = 1
INPUT_NAME = "input"


def compare_sweep(out: Path) -> dict[str, dict[str, Any]]:
    """Return scene -> comparison, made anew where a job has changed since; see ``compare_jobs``.

    Raises
    ------
    InputError
        ``out`` holds no sweep.
    """
    folder = out / COMPARISON
    found = {}
    for scene, jobs in by_scene(read_sweep(out)).items():
        key = _key(jobs)
        path = folder / f"{scene}.json"
        kept = _kept(path, key)
        if kept is None:
            folder.mkdir(exist_ok=True)
            values, arrays = compare_jobs(jobs)
            for name, content in arrays.items():
                with atomic_file(folder / f"{scene}_{name}.npz") as file:
                    np.savez_compressed(file, **content)  # type: ignore[arg-type]  # no array is called allow_pickle
            kept = json_ready({"schema_version": SCHEMA_VERSION, "scene": scene, "key": key, **values})
            with atomic_file(path) as file:  # last: it says that the arrays are there
                file.write(json.dumps(kept, allow_nan=False).encode() + b"\n")
        found[scene] = kept
    return found


def _key(jobs: Sequence[SweepJob]) -> str:
    """Return the hash of what a comparison depends on: which DSMs on which files, compared by which code."""
    facts = [[job.id, job.result.status.value, job.result.hashes.model_dump()] for job in jobs]
    return hash_values([SCHEMA_VERSION, core_code(), facts])


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if found.get("key") == key else None


def compare_jobs(jobs: Sequence[SweepJob]) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[Any]]]]:
    """Compare the jobs of one scene that have a DSM.

    Returns
    -------
    values
        As ``compare`` gives, with ``jobs`` (label -> ids), ``areas`` (label -> pixels and km2 of its DSM) and
        ``reason``: why nothing was compared, or None.
    arrays
        ``blocks`` and ``samples``, as the head of this module says; empty where nothing was compared.
    """
    scored = by_label(job for job in jobs if job.dsm_path is not None)
    values: dict[str, Any] = {"reason": None, "jobs": {label: [c.id for c in of] for label, of in scored.items()}}
    if not scored:
        return {**values, "reason": "No job of this scene has a DSM."}, {}
    first = next(iter(scored.values()))[0]
    try:
        _check_same_files(jobs)
        opened = open_scene(first.request())
        if opened.reference is None or opened.reference.dsm is None:
            return {**values, "reason": "The scene has no reference DSM."}, {}
        initial, reference, masks, gt_mask = surfaces(opened)
        shift = shift_of(jobs)
        kernel = first.request().resampling
        if initial is not None:
            initial = on_grid(moved(initial, shift), reference, kernel)
        loaders = {label: _on_reference(dsm_loaders(of, shift), reference, kernel) for label, of in scored.items()}
        found = compare(reference, loaders, initial=initial, masks=masks, gt_mask=gt_mask)
    except RefbenchError as error:
        return {**values, "reason": str(error)}, {}
    values |= found.values
    values["coregistration"] = None if shift is None else shift.values()
    values["inputs"] = hash_values(first.result.hashes.inputs)
    values["areas"] = {label: area(of[0]) for label, of in scored.items()}
    return values, {"blocks": _blocks(found, scored), "samples": _samples(found)}


def surfaces(scene: Scene) -> tuple[DSM | None, DSM, dict[str, Mask], Mask | None]:
    """Return initial DSM, reference, masks and the mask of the reference, read from a scene with a reference DSM."""
    if scene.reference is None or scene.reference.dsm is None:
        raise InputError(f"The scene {scene.id} has no reference DSM.")
    return (
        None if scene.dsm is None else scene.dsm.read(),
        scene.reference.dsm.read(),
        {name: source.read() for name, source in scene_masks(scene).items()},
        None if scene.reference.mask is None else scene.reference.mask.read(),
    )


def _check_same_files(jobs: Sequence[SweepJob]) -> None:
    hashes = {hash_values(job.result.hashes.inputs): job.id for job in jobs if job.dsm_path is not None}
    if len(hashes) > 1:
        raise InputError(
            f"The scene changed between the jobs {' and '.join(list(hashes.values())[:2])}; "
            "run the sweep again with --resume."
        )


def shift_of(jobs: Sequence[SweepJob]) -> Shift | None:
    """Return the shift that the jobs of a scene applied to their DSMs before scoring; None where they did not.

    Raises
    ------
    InputError
        Jobs that applied different ones: they were not run by one protocol.
    """
    found = {}
    for job in jobs:
        if job.dsm_path is not None and job.result.metrics is not None:
            values = job.result.metrics.get(COREGISTRATION)
            found[json.dumps(values, sort_keys=True)] = job.id, values
    if len(found) > 1:
        first, second = [name for name, _ in found.values()][:2]
        raise InputError(f"The jobs {first} and {second} moved their DSMs differently; run the sweep again.")
    values = next((values for _, values in found.values()), None)
    return None if values is None else Shift.of(values)


def dsm_loaders(jobs: Sequence[SweepJob], shift: Shift | None = None) -> list[Callable[[], DSM]]:
    """Return a function per job with a DSM that reads it, moved by ``shift``."""

    def loader(path: Path) -> Callable[[], DSM]:
        source = open_written_dsm(path)
        return lambda: moved(source.read(), shift)

    return [loader(path) for job in jobs if (path := job.dsm_path) is not None]


def moved(dsm: DSM, shift: Shift | None) -> DSM:
    """Return a DSM moved by a shift; itself where there is none."""
    return dsm if shift is None else shifted(dsm, shift)


def _on_reference(loaders: list[Callable[[], DSM]], reference: DSM, kernel: str) -> list[Callable[[], DSM]]:
    """Return loaders whose DSMs come to the reference's grid by a kernel."""

    def aligned(load: Callable[[], DSM]) -> Callable[[], DSM]:
        return lambda: on_grid(load(), reference, kernel)

    return [aligned(load) for load in loaders]


def area(job: SweepJob) -> dict[str, float]:
    """Return ``pixels`` and ``km2`` of a job's DSM."""
    path = job.dsm_path
    assert path is not None  # only jobs with a DSM have an area
    grid = open_written_dsm(path).grid
    pixels = grid.width * grid.height
    return {"pixels": pixels, "km2": pixels * abs(grid.transform.determinant) / 1e6}


def _blocks(found: Comparison, scored: dict[str, list[SweepJob]]) -> dict[str, NDArray[Any]]:
    runs: list[tuple[str | None, int, str]] = [(INPUT, 0, INPUT_NAME)] if (INPUT, 0, "own") in found.blocks else []
    runs += [(label, number, job.id) for label, of in scored.items() for number, job in enumerate(of)]
    grid, sides = found.values["grid"], found.values["block_shape"]
    arrays: dict[str, NDArray[Any]] = {
        "runs": np.array([name for _, _, name in runs]),
        "block_px": np.array(found.values["block_px"]),
        "block_shape": np.array(sides),
        "block_rows": np.array(-(-grid["rows"] // sides[0])),
        "block_cols": np.array(-(-grid["cols"] // sides[1])),
    }
    empty = np.full_like(next(iter(found.blocks.values())), np.nan)
    for domain in DOMAINS:
        sums = np.stack([found.blocks.get((label, number, domain), empty) for label, number, _ in runs])
        arrays |= {f"{domain}_{key}": sums[:, index] for index, key in enumerate(BLOCK_KEYS)}
    return arrays


def _samples(found: Comparison) -> dict[str, NDArray[Any]]:
    numbers: dict[str | None, int] = {INPUT: 0}
    numbers.update({label: number for number, label in enumerate(found.values["methods"], start=1)})
    return {
        f"{numbers[label]}/{domain}/{stratum}/{key}": drawn
        for (label, domain), of in found.samples.items()
        for stratum, metrics in of.items()
        for key, drawn in metrics.items()
    }


def read_samples(out: Path, scene: str, stratum: str, domain: str, key: str) -> dict[str | None, NDArray[np.float64]]:
    """Return label -> bootstrap samples [repeats] of one metric; the initial DSM's label is None.

    In the unit of the metric, metres for most.
    """
    values = json.loads((out / COMPARISON / f"{scene}.json").read_text(encoding="utf-8"))
    if values["reason"] is not None:
        return {}
    with np.load(out / COMPARISON / f"{scene}_samples.npz") as arrays:
        names: dict[int, str | None] = dict(enumerate([INPUT, *values["methods"]]))
        wanted = {number: f"{number}/{domain}/{stratum}/{key}" for number in names}
        return {names[number]: arrays[name] for number, name in wanted.items() if name in arrays}
