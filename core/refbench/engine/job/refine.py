"""Running the method on its scene and writing what it gives, once that has been found to be what its contract says."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import ArrayError, MethodError, UnsupportedError
from refbench.contracts.grid import Window
from refbench.contracts.method import Prediction, TileMethod
from refbench.contracts.raster import DSM
from refbench.engine.job.draft import Noted, Refined
from refbench.engine.tiles.stream import CONFIDENCE, inside_areas, run_tiles
from refbench.engine.tiles.stream import DSM as DSM_LAYER
from refbench.files.image_file import write_picture
from refbench.files.names import as_file_name
from refbench.formats.output_nodata import OutputCode, output_nodata
from refbench.formats.raster_write import DSMWriter, write_band, write_dsm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.method import Context
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.engine.job.recorder import Recorder
    from refbench.engine.job.request import JobRequest
    from refbench.engine.tiles.stream import RowWriter
    from refbench.registry.records import MethodRecord

DSM_FILE = "dsm.tif"
_LAYER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TAKEN = frozenset({"dsm", "dsm_provenance", CONFIDENCE})
"""Names of files that layers may not take."""


def refine(
    record: MethodRecord,
    method: Any,  # noqa: ANN401  # the plugin's class
    scene: Scene,
    context: Context,
    request: JobRequest,
    recorder: Recorder,
    tags: dict[str, str],
) -> Refined:
    """Run the method and write what it gives to the job's folder; what it says of itself goes to ``recorder``.

    Raises
    ------
    MethodError
        It gave something that its contract does not allow, or no valid height at all; the message names the method.
    """
    try:
        if isinstance(method, TileMethod):
            notes = dict(method.prepare(scene, context))
            recorder.add(Noted(notes={**notes, **region_notes(scene, request)}))
            return _refine_tiles(record, method, scene, context, request, tags)
        if request.region is not None:
            raise UnsupportedError(f"{record.name} sees the whole scene, not tiles, so it cannot be cut into regions.")
        prediction = checked(method.refine(scene, context), scene)
        recorder.add(Noted(notes=dict(prediction.notes)))
        if not record.fills:
            prediction = with_nodata(prediction, scene)
        return write_prediction(prediction, scene, request.folder, output_nodata(request.nodata, scene.dsm), tags)
    except (ArrayError, MethodError) as error:
        raise MethodError(f"{record.name} did not keep to its contract: {error}") from error


@dataclass(slots=True)
class ValidCount:
    """A ``RowWriter`` that counts what passes through: valid heights, and initial ones that were lost."""

    writer: RowWriter | None
    initial: RasterSource[DSM] | None
    areas: tuple[Window, ...] = ()
    valid: int = 0
    lost: int = 0

    def write(self, window: Window, heights: NDArray[np.float32]) -> None:
        """Count the rows and hand them on."""
        known = np.isfinite(heights)
        self.valid += int(known.sum())
        if self.initial is not None:
            lost = self.initial.read(window).valid & ~known
            self.lost += int((lost & inside_areas(self.areas, window) if self.areas else lost).sum())
        if self.writer is not None:
            self.writer.write(window, heights)

    def warnings(self) -> tuple[str, ...]:
        """Return what has to be said of the counts.

        Raises
        ------
        MethodError
            There is no valid height.
        """
        if not self.valid:
            raise MethodError("It returned no valid height: all are NaN or infinite.")
        if not self.lost:
            return ()
        return (f"{self.lost} pixels with an initial height have no finite one after the refinement.",)


def _refine_tiles(
    record: MethodRecord,
    method: TileMethod,
    scene: Scene,
    context: Context,
    request: JobRequest,
    tags: dict[str, str],
) -> Refined:
    """Stream the method's tiles into the DSM and its layers."""
    needs = (*record.needs, *record.optional)
    names = {layer: CONFIDENCE if layer == CONFIDENCE else f"dsm_{layer}" for layer in method.layers()}
    files = {DSM_LAYER: DSM_FILE, **{layer: f"{name}.tif" for layer, name in names.items()}}
    grid, nodata = scene.require_grid(), output_nodata(request.nodata, scene.dsm)
    rows = None if request.region is None else request.region.rows(grid.height)
    first, end = rows or (0, grid.height)
    part = grid.window(Window(0, first, grid.width, end - first))
    with contextlib.ExitStack() as stack:
        writers: dict[str, RowWriter] = {
            layer: _Shifted(stack.enter_context(layer_writer(request.folder / file, part, layer, nodata, tags)), first)
            for layer, file in files.items()
        }
        counted = ValidCount(writers.pop(DSM_LAYER), scene.dsm, scene.areas)
        run_tiles(method, scene, context, counted, needs=needs, fills=record.fills, layers=writers, rows=rows)
        # A region may well lie outside the valid heights: the whole is looked at when the regions are joined.
        warnings = counted.warnings() if rows is None else ()
    return Refined(outputs={DSM_LAYER: DSM_FILE, **{names[layer]: files[layer] for layer in names}}, warnings=warnings)


def layer_writer(path: Path, grid: Grid, layer: str, nodata: OutputCode, tags: dict[str, str]) -> DSMWriter:
    """Return the writer of the DSM or of a layer of tiles, all in metres."""
    description = CONFIDENCE if layer == CONFIDENCE else "height"
    return DSMWriter(path, grid, nodata=nodata, tags=tags, description=description)


@dataclass(frozen=True, slots=True)
class _Shifted:
    """A ``RowWriter`` of a raster that begins at row ``first`` of the whole."""

    writer: RowWriter
    first: int

    def write(self, window: Window, heights: NDArray[np.float32]) -> None:
        """Write the rows where the part's raster has them."""
        self.writer.write(window.shifted(0, -self.first), heights)


def region_notes(scene: Scene, request: JobRequest) -> dict[str, Any]:
    """Return which rows of the whole raster a job writes, for its result; nothing where it writes all."""
    if request.region is None:
        return {}
    first, end = request.region.rows(scene.require_grid().height)
    return {"region": {**asdict(request.region), "row_off": first, "rows": end - first}}


def checked(given: object, scene: Scene) -> Prediction:
    """Return what a method gave where it is a prediction whose rasters lie on the scene's grid.

    Raises
    ------
    MethodError
        It is not; the message says what is wrong with which part.
    """
    if not isinstance(given, Prediction):
        raise MethodError(f"It returned a {type(given).__name__}, not a Prediction.")
    if (dsm := given.dsm) is not None:
        if scene.grid is not None and (wrong := "; ".join(scene.grid.differences(dsm.grid))):
            raise MethodError(f"It returned a DSM on another grid than the scene's: {wrong}.")
        rasters = {CONFIDENCE: given.confidence, "provenance": given.provenance, **given.layers}
        for name, values in rasters.items():
            if values is not None and values.shape != dsm.grid.shape:
                raise MethodError(f"Its {name} has shape {values.shape}, the DSM {dsm.grid.shape}.")
    for name in given.layers:
        if not _LAYER_NAME.fullmatch(name) or name in _TAKEN:
            raise MethodError(f"It returned a layer called {name!r}, which cannot be the name of its file.")
    for name, depth in given.depths.items():
        if depth.ndim != 2:
            raise MethodError(f"The depth map of {name} has shape {depth.shape}, not [rows, cols].")
    return given


def with_nodata(prediction: Prediction, scene: Scene) -> Prediction:
    """Return a prediction whose heights are NaN where the initial DSM has none, and outside the scene's areas."""
    dsm = prediction.dsm
    if dsm is None or (scene.dsm is None and not scene.areas):
        return prediction
    kept = np.ones(dsm.grid.shape, np.bool_) if scene.dsm is None else scene.dsm.read().valid
    if scene.areas:
        kept = kept & inside_areas(scene.areas, dsm.grid.full_window)
    confidence = prediction.confidence
    return replace(
        prediction,
        dsm=DSM(np.where(kept, dsm.heights, np.float32(np.nan)), dsm.grid),
        confidence=None if confidence is None else np.where(kept, confidence, np.float32(np.nan)),
        provenance=None if prediction.provenance is None else np.where(kept, prediction.provenance, np.uint8(0)),
    )


def write_prediction(
    prediction: Prediction, scene: Scene, folder: Path, nodata: OutputCode, tags: dict[str, str]
) -> Refined:
    """Write the DSM, its confidence, layers and provenance, depth maps and images; keep the files in the scratch.

    Raises
    ------
    MethodError
        No height is valid, or two files have one name.
    """
    outputs: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    if (dsm := prediction.dsm) is not None:
        counted = ValidCount(None, scene.dsm, scene.areas)
        counted.write(dsm.grid.full_window, dsm.heights)
        warnings = counted.warnings()
        write_dsm(folder / DSM_FILE, dsm, nodata=nodata, tags=tags, provenance=prediction.provenance)
        outputs["dsm"] = DSM_FILE
        if prediction.provenance is not None:
            outputs["provenance"] = "dsm_provenance.tif"
        if prediction.confidence is not None:
            outputs |= _bands(folder, {CONFIDENCE: prediction.confidence}, dsm)
        outputs |= _bands(folder, prediction.layers, dsm)
    for name, depth in prediction.depths.items():
        outputs[f"depth_{name}"] = f"depth_{as_file_name(name)}.tif"
        write_band(folder / outputs[f"depth_{name}"], depth, None, "depth", nodata=math.nan)
    for name, image in prediction.views.items():
        outputs[f"view_{name}"] = f"view_{as_file_name(name)}.png"
        write_picture(folder / outputs[f"view_{name}"], image)
    for name, path in prediction.files.items():
        kept = folder / path.name
        if kept.exists():
            raise MethodError(f"It gave two files of the name {path.name}.")
        path.replace(kept)
        outputs[name] = kept.name
    return Refined(outputs=outputs, warnings=warnings)


def _bands(folder: Path, layers: Mapping[str, NDArray[Any]], dsm: DSM) -> dict[str, str]:
    """Write layers on the DSM's grid; return name -> file."""
    for name, values in layers.items():
        # Counts and classes are integers, which have no NaN.
        nodata = math.nan if values.dtype.kind == "f" else None
        write_band(folder / f"{name}.tif", values, dsm.grid, name, nodata=nodata)
    return {name: f"{name}.tif" for name in layers}
