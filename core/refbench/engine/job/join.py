"""Regions of one raster: what the jobs have written, checked against each other, becomes one raster, pixel by pixel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window
from refbench.engine.job.draft import Noted, Refined, Weights
from refbench.engine.job.outputs import ValidCount
from refbench.engine.job.parts import Part
from refbench.engine.job.refine import REGION, is_height, layer_writer
from refbench.engine.job.result import RESULT_FILE, Result, Status, read_result
from refbench.engine.tiles.stream import DSM as DSM_LAYER
from refbench.files.hashing import hash_file
from refbench.formats.output_nodata import output_nodata
from refbench.formats.raster import open_written_dsm
from refbench.formats.raster_file import RasterFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench.contracts.scene import Scene
    from refbench.engine.job.draft import Opened, Prepared
    from refbench.engine.job.request import JobRequest
    from refbench.engine.tiles.stream import RowWriter

ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Strip:
    """The folder and result of one region: rows [``row_off``, ``row_off + rows``) of the whole raster."""

    folder: Path
    result: Result
    part: Part
    row_off: int
    rows: int


def read_strips(folders: Sequence[Path]) -> list[Strip]:
    """Return the regions of one raster from north to south, each once.

    Raises
    ------
    InputError
        One is no region, has not ended ok, was changed since; two differ in method, configuration, weights, seed,
        inputs or version, or in the pixels of one region; or one is missing: the message names them.
    """
    found: dict[int, Strip] = {}
    for folder in folders:
        strip = _read(folder)
        known = found.setdefault(strip.part.index, strip)
        if known.result.hashes.outputs != strip.result.hashes.outputs:
            raise InputError(f"{known.folder} and {folder} hold different pixels (by SHA-256) of one region.")
        _check_same(next(iter(found.values())), strip)
    of = next(iter(found.values())).part.of
    if missing := [str(index) for index in range(of) if index not in found]:
        raise InputError(
            f"{len(missing)} of {of} regions are missing: {', '.join(missing[:20])}"
            f"{' …' if len(missing) > 20 else ''}; run each with --region-index and --of {of}."
        )
    return [found[index] for index in range(of)]


def _read(folder: Path) -> Strip:
    result = read_result(folder / RESULT_FILE)
    if result.status is not Status.OK:
        raise InputError(f"{folder} ended as {result.status.value}: {result.reason} Run this region again.")
    for name, wanted in result.hashes.outputs.items():
        path = folder / name
        if not path.is_file() or hash_file(path) != wanted:
            raise InputError(f"{path} is missing or was changed since it was written; run this region again.")
    try:
        said: dict[str, int] = result.notes[REGION]
        return Strip(folder, result, Part(said["index"], said["of"]), said["row_off"], said["rows"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder} is no region of a run; refbench run --region-index makes one.") from error


def _check_same(first: Strip, other: Strip) -> None:
    """Refuse to join what was not made by one method from one scene."""
    facts, others = _facts(first), _facts(other)
    if (name := next((name for name in facts if facts[name] != others[name]), None)) is not None:
        raise InputError(f"{first.folder} and {other.folder} are of different {name}; run one of them again.")


def _facts(strip: Strip) -> dict[str, object]:
    """Return what all regions of a raster have in common, by its name in messages."""
    result = strip.result
    return {
        "numbers of regions": strip.part.of,
        "methods": result.method,
        "configurations": result.hashes.config,
        "weights": result.hashes.weights,
        "seeds": result.seed,
        "inputs": sorted(result.hashes.inputs.values()),
        "versions of refbench": result.refbench_version,
        "outputs": result.outputs,
    }


def join(
    scene: Scene, request: JobRequest, opened: Opened, prepared: Prepared, tags: dict[str, str]
) -> tuple[Refined, Weights, Noted]:
    """Write every raster of the regions in ``request.strips`` as one; the method does not run.

    Returns
    -------
    tuple
        What was written, the weights that ran, and the regions' own notes with what they cost together.

    Raises
    ------
    InputError
        As ``read_strips``, or the scene's files are others than the regions were made from.
    MethodError
        No region holds a valid height.
    """
    strips = read_strips([Path(folder) for folder in request.strips])
    first, grid = strips[0].result, scene.require_grid()
    if sorted(first.hashes.inputs.values()) != sorted(opened.inputs.values()):
        raise InputError(
            f"The scene's files are not those that {strips[0].folder} was made from; run the regions again."
        )
    if sum(strip.rows for strip in strips) != grid.height:
        raise InputError(f"The regions hold {sum(strip.rows for strip in strips)} rows, the scene {grid.height}.")
    nodata = output_nodata(request.nodata, scene.dsm)
    warnings: tuple[str, ...] = ()
    for layer, file in first.outputs.items():
        with layer_writer(request.folder / file, grid, layer, nodata, tags) as writer:
            counted = ValidCount(writer, scene.dsm if layer == DSM_LAYER else None, scene.areas)
            for strip in strips:
                _copy(strip, file, counted if is_height(layer) else writer, in_metres=is_height(layer))
            if layer == DSM_LAYER:
                warnings = counted.warnings()
    told = {*opened.warnings, *prepared.warnings}
    said = dict.fromkeys(text for strip in strips for text in strip.result.warnings if text not in told)
    weights = Weights(path=first.weights, hashes=first.hashes.weights, warnings=tuple(said))
    return Refined(outputs=first.outputs, warnings=warnings), weights, Noted(notes=_notes(strips))


def _copy(strip: Strip, file: str, writer: RowWriter, *, in_metres: bool) -> None:
    """Hand the rows of one region's raster on, at their place in the whole; what is no height pixel by pixel."""
    source = open_written_dsm(strip.folder / file)
    raw = RasterFile(strip.folder / file)
    width = source.grid.width
    for row in range(0, strip.rows, ROWS_AT_ONCE):
        window = Window(0, row, width, min(ROWS_AT_ONCE, strip.rows - row))
        values = source.read(window).heights if in_metres else raw.read([1], window)[0]
        writer.write(window.shifted(0, strip.row_off), values)


def _notes(strips: Sequence[Strip]) -> dict[str, Any]:
    notes = {key: value for key, value in strips[0].result.notes.items() if key != REGION}
    costs = [strip.result.cost for strip in strips]
    regions = {
        "count": len(strips),
        "cpu_s": sum(cost.cpu_s or 0.0 for cost in costs),
        "peak_memory_bytes": max(cost.peak_memory_bytes or 0 for cost in costs),
    }
    return {**json.loads(json.dumps(notes)), "regions": regions}
