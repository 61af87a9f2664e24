"""One look at the pixels and points of a scene before anything runs: all-NoData, undeclared NoData, cut-off files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.formats.cloud import PointFile
from refbench.formats.cloud_joined import JoinedPoints
from refbench.formats.raster import DSMFile

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene

MAX_SCANNED_POINTS = 20_000_000


def scanned(scene: Scene) -> Scene:
    """Return the scene with warnings that only reading can tell.

    DSM and reference are read once, by blocks. Clouds of up to 20 million points are read, too (small ones stay in
    memory for the run); larger ones are only checked when they are used.

    Raises
    ------
    InputError
        A DSM or reference without any height, a damaged file, or a cloud with fewer than two finite points.
    """
    notes: list[str] = []
    for raster in (scene.dsm, scene.reference.dsm if scene.reference else None):
        if isinstance(raster, DSMFile):
            notes += _scan_dsm(raster)
    if isinstance(scene.points, PointFile | JoinedPoints) and scene.points.count() <= MAX_SCANNED_POINTS:
        scene.points.check()
        notes += scene.points.warnings
    new = [note for note in dict.fromkeys(notes) if note not in scene.warnings]
    return replace(scene, warnings=(*scene.warnings, *new))


def _scan_dsm(raster: DSMFile) -> list[str]:
    path, scan = raster.files[0], raster.scan
    if scan.valid == 0:
        raise InputError(f"{path} holds no height at all: every pixel is NoData.")
    if not scan.undeclared:
        return []
    return [
        f"{path}: {scan.undeclared:,} pixels are infinite or beyond 1e30 but not its NoData code; they count as NoData."
    ]
