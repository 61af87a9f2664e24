"""The refined DSM on its way back: in the CRS, on the grid and in the unit of the file that the user gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.engine.job.draft import Refined
from refbench.formats.crs import VERTICAL_TAG
from refbench.formats.output_nodata import output_nodata
from refbench.formats.raster import DSMFile, open_dsm
from refbench.formats.raster_write import DSMWriter
from refbench.formats.units import METRES_PER_UNIT
from refbench.formats.warped import Warped
from refbench.scenes.align import scene_kernel

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.raster import DSM
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.engine.job.request import JobRequest

BACK_FILE = "dsm_back.tif"
BACK = "dsm_back"
"""Its name among the outputs of a result."""


def input_file(scene: Scene) -> DSMFile:
    """Return the file of the initial DSM, whatever grid the scene has it on.

    Raises
    ------
    InputError
        The scene has none: a grid that was made over points leads nowhere back.
    """
    source = scene.dsm.source if isinstance(scene.dsm, Warped) else scene.dsm
    if not isinstance(source, DSMFile):
        raise InputError("--back leads to the grid of the initial DSM, and the scene has no file of one; leave it out.")
    return source


@dataclass(slots=True)
class _Counts:
    written: int = 0
    lost: int = 0


def write_back(scene: Scene, request: JobRequest, refined: Refined, tags: dict[str, str], fills: bool) -> Refined:
    """Write the refined DSM as ``dsm_back.tif``, by strips, and return the outputs with it.

    NoData stays where the input has it, unless the method fills; what the two resamplings lost is said.
    """
    if "dsm" not in refined.outputs:
        return refined
    file = input_file(scene)
    source: RasterSource[DSM] = open_dsm(request.folder / refined.outputs["dsm"])
    if source.grid != file.grid:
        # A cell is known where any contributor is: the input's own NoData is put back below.
        source = Warped(source, file.grid, scene_kernel(request.resampling), anywhere=True)
    counts = _strips(file, source, request.folder / BACK_FILE, request.nodata, tags, fills)
    warnings = refined.warnings
    if counts.lost:
        warnings = (
            *warnings,
            f"{BACK_FILE}: {counts.lost:,} cells with a height in {file.files[0]} have none, beside {counts.written:,} "
            "that have; they lie at the rim of holes.",
        )
    return Refined(outputs={**refined.outputs, BACK: BACK_FILE}, warnings=warnings)


def _strips(
    file: DSMFile, source: RasterSource[DSM], path: Path, nodata: float | None, tags: dict[str, str], fills: bool
) -> _Counts:
    counts = _Counts()
    said = {**tags, VERTICAL_TAG: file.vertical_in_file}
    code = output_nodata(nodata, file)
    with DSMWriter(path, file.place_in_file, nodata=code, tags=said, unit=file.unit) as writer:
        for strip in file.strips():
            heights, known = source.read(strip).heights, file.read(strip).valid
            if not fills:
                heights = np.where(known, heights, np.float32(np.nan))
            counts.written += int(np.isfinite(heights).sum())
            counts.lost += int((known & ~np.isfinite(heights)).sum())
            if file.unit != "metre":
                heights = (heights.astype(np.float64) / METRES_PER_UNIT[file.unit]).astype(np.float32)
            writer.write(strip, heights)
    return counts
