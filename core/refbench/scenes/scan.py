"""One look at the pixels and points of a scene before anything runs: all-NoData, undeclared NoData, cut-off files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.formats.cloud import PointFile
from refbench.formats.cloud_joined import JoinedPoints
from refbench.formats.in_metres import warp_note
from refbench.formats.raster import DSMFile, ImageFile, MaskFile
from refbench.formats.warped import Warped, round_trip_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench.contracts.scene import Scene

MAX_SCANNED_POINTS = 20_000_000


def scanned(scene: Scene) -> Scene:
    """Return the scene with warnings that only reading can tell.

    DSM and reference are read once, by blocks; images only where their pixels can hold a code that nobody declared
    (signed and floating ones), masks until a pixel inside is found. Clouds of up to 20 million points are read, too
    (small ones stay in memory for the run); larger ones are only checked when they are used.

    Raises
    ------
    InputError
        A DSM or reference without any height, a damaged file, or a cloud with fewer than two finite points.
    """
    notes: list[str] = []
    reference = scene.reference.dsm if scene.reference else None
    for raster in (scene.dsm, reference):
        if isinstance(source := unwarped(raster), DSMFile):
            notes += _scan_dsm(source)
        if isinstance(raster, Warped):
            loss = f"{raster.files[0]}: {round_trip_loss(raster)}."
            notes.append(loss if raster is reference else warp_note(raster))
    for source in _images_and_masks(scene):
        notes += source.check()
    if isinstance(scene.points, PointFile | JoinedPoints) and scene.points.count() <= MAX_SCANNED_POINTS:
        scene.points.check()
        notes += scene.points.warnings
    new = [note for note in dict.fromkeys(notes) if note not in scene.warnings]
    return replace(scene, warnings=(*scene.warnings, *new))


def _scan_dsm(raster: DSMFile) -> list[str]:
    path, scan = raster.files[0], raster.scan
    if scan.valid == 0:
        raise InputError(f"{path} holds no height at all: every pixel is NoData.")
    return list(scan.notes)


def _images_and_masks(scene: Scene) -> Iterator[ImageFile | MaskFile]:
    """Yield the raster files of a scene that are no DSMs."""
    reference = scene.reference
    sources: list[object] = [*scene.orthos.values(), scene.ndvi, *scene.masks.values(), *scene.layers.values()]
    if reference is not None:
        sources += [reference.mask, *reference.depths.values()]
    for view in scene.views.values():
        sources += [view.image, view.depth, view.mask]
    plain = (unwarped(source) for source in sources)
    yield from (source for source in plain if isinstance(source, (ImageFile, MaskFile)))


def unwarped(source: object) -> object:
    """Return the source behind a resampled one, any other as it is."""
    return source.source if isinstance(source, Warped) else source
