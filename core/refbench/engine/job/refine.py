"""Running the method on its scene and writing what it gives."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.contracts.method import TileMethod
from refbench.engine.job.draft import Noted, Refined
from refbench.engine.tiles.stream import CONFIDENCE, DSM, run_tiles
from refbench.files.image_file import write_picture
from refbench.files.names import as_file_name
from refbench.formats.raster_write import DSMWriter, write_band, write_dsm

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.method import Context, Prediction
    from refbench.contracts.scene import Scene
    from refbench.engine.job.recorder import Recorder
    from refbench.engine.job.request import JobRequest
    from refbench.registry.records import MethodRecord

DSM_FILE = "dsm.tif"


def refine(
    record: MethodRecord,
    method: Any,  # noqa: ANN401  # the plugin's class
    scene: Scene,
    context: Context,
    request: JobRequest,
    recorder: Recorder,
    tags: dict[str, str],
) -> Refined:
    """Run the method and write what it gives to the job's folder; what it says of itself goes to ``recorder``."""
    if isinstance(method, TileMethod):
        recorder.add(Noted(notes=dict(method.prepare(scene, context))))
        return _refine_tiles(record, method, scene, context, request, tags)
    prediction: Prediction = method.refine(scene, context)
    recorder.add(Noted(notes=dict(prediction.notes)))
    return Refined(outputs=write_prediction(prediction, scene, request.folder, request.nodata, tags))


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
    files = {DSM: DSM_FILE, **{layer: f"{name}.tif" for layer, name in names.items()}}
    grid = scene.require_grid()
    with contextlib.ExitStack() as stack:
        writers = {
            layer: stack.enter_context(
                DSMWriter(
                    request.folder / file,
                    grid,
                    nodata=request.nodata,
                    tags=tags,
                    description=CONFIDENCE if layer == CONFIDENCE else "height",
                )
            )
            for layer, file in files.items()
        }
        run_tiles(method, scene, context, writers.pop(DSM), needs=needs, fills=record.fills, layers=writers)
    return Refined(outputs={DSM: DSM_FILE, **{names[layer]: files[layer] for layer in names}})


def write_prediction(
    prediction: Prediction, scene: Scene, folder: Path, nodata: float, tags: dict[str, str]
) -> dict[str, str]:
    """Write the DSM, its confidence and provenance, depth maps and images; keep what the method left in its scratch.

    Returns
    -------
    dict of str to str
        Name -> file, relative to ``folder``.

    Raises
    ------
    InputError
        The method returned a DSM on another grid than the scene's.
    """
    outputs: dict[str, str] = {}
    if prediction.dsm is not None:
        if scene.grid is not None and (wrong := "; ".join(scene.grid.differences(prediction.dsm.grid))):
            raise InputError(f"The method returned a DSM on another grid than the scene's: {wrong}.")
        write_dsm(folder / DSM_FILE, prediction.dsm, nodata=nodata, tags=tags, provenance=prediction.provenance)
        outputs["dsm"] = DSM_FILE
        if prediction.provenance is not None:
            outputs["provenance"] = "dsm_provenance.tif"
        if prediction.confidence is not None:
            write_band(folder / "confidence.tif", prediction.confidence, prediction.dsm.grid, "confidence")
            outputs["confidence"] = "confidence.tif"
    for name, depth in prediction.depths.items():
        outputs[f"depth_{name}"] = f"depth_{as_file_name(name)}.tif"
        write_band(folder / outputs[f"depth_{name}"], depth, None, "depth")
    for name, picture in prediction.views.items():
        outputs[f"view_{name}"] = f"view_{as_file_name(name)}.png"
        write_picture(folder / outputs[f"view_{name}"], picture)
    for name, path in prediction.files.items():
        kept = folder / path.name
        if kept.exists():
            raise InputError(f"The method gave two files of the name {path.name}.")
        path.replace(kept)
        outputs[name] = kept.name
    return outputs
