"""Running the method on its scene: the whole of it, or tile by tile."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ArrayError, MethodError
from refbench.contracts.method import tile_method_of
from refbench.engine.job.draft import Noted, Refined
from refbench.engine.job.outputs import (
    DSM_FILE,
    PROVENANCE_FILE,
    ValidCount,
    check_layer_name,
    checked,
    with_nodata,
    write_beside,
    write_prediction,
)
from refbench.engine.tiles.stream import CONFIDENCE, PROVENANCE, run_tiles
from refbench.engine.tiles.stream import DSM as DSM_LAYER
from refbench.formats.output_nodata import output_nodata
from refbench.formats.raster import open_dsm
from refbench.formats.raster_write import CogWriter, DSMWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.method import Context, TileMethod
    from refbench.contracts.scene import Scene
    from refbench.engine.job.recorder import Recorder
    from refbench.engine.job.request import JobRequest
    from refbench.engine.tiles.stream import RowWriter
    from refbench.registry.records import MethodRecord


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
        if (tiled := tile_method_of(method, scene)) is not None:
            return _refine_tiles(record, tiled, scene, context, request, recorder, tags)
        prediction = checked(method.refine(scene, context), scene)
        recorder.add(Noted(notes=dict(prediction.notes)))
        if not record.fills:
            prediction = with_nodata(prediction, scene)
        return write_prediction(prediction, scene, request.folder, output_nodata(request.nodata, scene.dsm), tags)
    except (ArrayError, MethodError) as error:
        raise MethodError(f"{record.name} did not keep to its contract: {error}") from error


def _refine_tiles(
    record: MethodRecord,
    method: TileMethod,
    scene: Scene,
    context: Context,
    request: JobRequest,
    recorder: Recorder,
    tags: dict[str, str],
) -> Refined:
    """Stream the method's tiles into the DSM and its layers; then write what the method adds to these."""
    notes = dict(method.prepare(scene, context))
    recorder.add(Noted(notes=notes))
    needs = (*record.needs, *record.optional)
    files = _files(method)
    grid, nodata = scene.require_grid(), output_nodata(request.nodata, scene.dsm)
    with contextlib.ExitStack() as stack:
        writers: dict[str, RowWriter] = {}
        for layer, file in files.items():
            path = request.folder / file
            if layer == PROVENANCE:
                writers[layer] = stack.enter_context(_BandWriter(path, grid, PROVENANCE, "uint8", tags=tags))
            elif layer in method.quality_layers():
                writers[layer] = stack.enter_context(_BandWriter(path, grid, layer, "float32", nodata=math.nan))
            else:
                name = CONFIDENCE if layer == CONFIDENCE else "height"
                writer = DSMWriter(path, grid, nodata=nodata, tags=tags, description=name)
                writers[layer] = stack.enter_context(writer)
        counted = ValidCount(writers.pop(DSM_LAYER), scene.dsm, scene.areas)
        run_tiles(method, scene, context, counted, needs=needs, fills=record.fills, layers=writers)
        warnings = counted.warnings()
    outputs = {_output_name(layer, method): file for layer, file in files.items()}
    added = method.finish(open_dsm(request.folder / DSM_FILE), context)
    recorder.add(Noted(notes={**notes, **added.notes}))
    return Refined(outputs={**outputs, **write_beside(added, request.folder)}, warnings=warnings)


def _files(method: TileMethod) -> dict[str, str]:
    """Return the file of the DSM and of every layer, by the layer's name.

    Raises
    ------
    MethodError
        A layer cannot have a file of its name.
    """
    files = {DSM_LAYER: DSM_FILE}
    for layer in (*method.layers(), *method.quality_layers()):
        if layer == PROVENANCE:
            files[layer] = PROVENANCE_FILE
            continue
        if layer != CONFIDENCE:
            check_layer_name(layer)
        files[layer] = f"{_output_name(layer, method)}.tif"
    return files


def _output_name(layer: str, method: TileMethod) -> str:
    """Return a layer's name among the outputs: alternative DSMs say that they are some."""
    plain = layer in (DSM_LAYER, CONFIDENCE, PROVENANCE) or layer in method.quality_layers()
    return layer if plain else f"dsm_{layer}"


class _BandWriter(CogWriter):
    """Streams a layer that is no height into a COG."""

    def __init__(
        self,
        path: Path,
        grid: Grid,
        name: str,
        dtype: str,
        *,
        nodata: float | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            path, grid.shape, dtype, grid=grid, nodata=nodata, average=False, descriptions=(name,), tags=tags
        )

    def __enter__(self) -> _BandWriter:
        super().__enter__()
        return self

    def write(self, window: Window, heights: NDArray[Any]) -> None:
        """Write the values [rows, cols] of a window."""
        self.write_bands(window, heights[None])
