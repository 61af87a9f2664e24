"""Running the method on its scene: the whole of it, or tile by tile."""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ArrayError, MethodError, UnsupportedError
from refbench.contracts.grid import Window
from refbench.contracts.method import TileMethod, tile_method_of
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
from refbench.formats.output_nodata import OutputCode, output_nodata
from refbench.formats.raster import open_written_dsm
from refbench.formats.raster_write import CogWriter, DSMWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.method import Context
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
            if request.region is not None:
                check_by_regions(record, type(tiled))
            return _refine_tiles(record, tiled, scene, context, request, recorder, tags)
        if request.region is not None:
            check_by_regions(record, type(method))
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
    notes = {**method.prepare(scene, context), **region_notes(scene, request)}
    recorder.add(Noted(notes=notes))
    needs = (*record.needs, *record.optional)
    files = _files(method)
    grid, nodata = scene.require_grid(), output_nodata(request.nodata, scene.dsm)
    rows = None if request.region is None else request.region.rows(grid.height)
    first, end = rows or (0, grid.height)
    part = grid.window(Window(0, first, grid.width, end - first))
    with contextlib.ExitStack() as stack:
        writers: dict[str, RowWriter] = {}
        for layer, file in files.items():
            writer = layer_writer(request.folder / file, part, _output_name(layer, method), nodata, tags)
            stack.enter_context(writer)
            writers[layer] = _Shifted(writer, first)
        counted = ValidCount(writers.pop(DSM_LAYER), scene.dsm, scene.areas)
        run_tiles(method, scene, context, counted, needs=needs, fills=record.fills, layers=writers, rows=rows)
        # A region may well lie outside the valid heights: the whole is looked at when the regions are joined.
        warnings = counted.warnings() if rows is None else ()
    outputs = {_output_name(layer, method): file for layer, file in files.items()}
    added = method.finish(open_written_dsm(request.folder / DSM_FILE, grid), context)
    recorder.add(Noted(notes={**notes, **added.notes}))
    return Refined(outputs={**outputs, **write_beside(added, request.folder)}, warnings=warnings)


def check_by_regions(record: MethodRecord, kind: type) -> None:
    """Refuse a method that cannot be run by regions of a raster.

    Raises
    ------
    UnsupportedError
        It sees the whole scene rather than tiles, or the whole refined DSM at the end.
    """
    if not issubclass(kind, TileMethod):
        raise UnsupportedError(f"{record.name} sees the whole scene, not tiles, so it cannot be cut into regions.")
    if kind.finish is not TileMethod.finish:
        raise UnsupportedError(f"{record.name} looks at the whole refined DSM, so it cannot be cut into regions.")


REGION = "region"
"""Key of a result's notes: which part of the raster it is (``index``, ``of``), its ``row_off`` and ``rows``."""


def region_notes(scene: Scene, request: JobRequest) -> dict[str, Any]:
    """Return which rows of the whole raster a job writes, for its result; nothing where it writes all."""
    if request.region is None:
        return {}
    first, end = request.region.rows(scene.require_grid().height)
    return {REGION: {**asdict(request.region), "row_off": first, "rows": end - first}}


@dataclass(frozen=True, slots=True)
class _Shifted:
    """A ``RowWriter`` of a raster that begins at row ``first`` of the whole."""

    writer: RowWriter
    first: int

    def write(self, window: Window, heights: NDArray[Any]) -> None:
        """Write the rows where the part's raster has them."""
        self.writer.write(window.shifted(0, -self.first), heights)


def is_height(output: str) -> bool:
    """Return whether an output of tiles is in metres: the DSM, alternative ones, and their standard deviation."""
    return output in (DSM_LAYER, CONFIDENCE) or output.startswith("dsm_")


def layer_writer(
    path: Path, grid: Grid, output: str, nodata: OutputCode, tags: dict[str, str]
) -> DSMWriter | BandWriter:
    """Return the writer of a raster that tiles give, by its name among the outputs."""
    if output == PROVENANCE:
        return BandWriter(path, grid, PROVENANCE, "uint8", tags=tags)
    if not is_height(output):
        return BandWriter(path, grid, output, "float32", nodata=math.nan)
    name = CONFIDENCE if output == CONFIDENCE else "height"
    return DSMWriter(path, grid, nodata=nodata, tags=tags, description=name)


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


class BandWriter(CogWriter):
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

    def __enter__(self) -> BandWriter:
        super().__enter__()
        return self

    def write(self, window: Window, heights: NDArray[Any]) -> None:
        """Write the values [rows, cols] of a window."""
        self.write_bands(window, heights[None])
