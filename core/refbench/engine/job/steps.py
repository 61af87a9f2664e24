"""What a cell does: open, bridge, load, refine, write, score. Runs in the cell's own process."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.bridges.plan import apply_bridges
from refbench.contracts.errors import InputError, SkippedError, WeightsError
from refbench.contracts.method import TileMethod
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.prepare import prepare
from refbench.engine.inputs.weights import find_weights
from refbench.engine.job.manifest import manifest
from refbench.engine.job.request import official_function, open_scene
from refbench.engine.scoring.score import score
from refbench.engine.tiles.stream import CONFIDENCE, DSM, run_tiles
from refbench.files.hashing import hash_file, hash_inputs, hash_tree, hash_values
from refbench.files.image_file import write_picture
from refbench.files.names import as_file_name
from refbench.formats.raster_write import DSMWriter, write_band, write_dsm
from refbench.registry.registry import load_registry
from refbench.registry.requirements import check_packages

if TYPE_CHECKING:
    from refbench.contracts.method import Context, Prediction
    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.engine.job.recorder import Recorder
    from refbench.engine.job.request import CellRequest
    from refbench.registry.records import MethodRecord

DSM_FILE = "dsm.tif"


def execute(request: CellRequest, context: Context, recorder: Recorder) -> None:
    """Run the cell of ``request``; facts go to ``recorder``, files to its folder.

    Raises
    ------
    RefbenchError
        As the readers, the bridges, the method and the writers do.
    """
    draft = recorder.draft
    with recorder.phase("open"):
        record = load_registry().methods.get(request.method)
        scene = open_scene(request)
        config = load_config(record, request.config, request.overrides)
        draft.update(scene=scene.id, config=config.values, config_source=config.source, notes={})
        draft["warnings"] += [*scene.warnings, *config.notes]
        draft["hashes"] = {"inputs": hash_inputs(scene), "config": hash_values(config.values)}
    with recorder.phase("prepare"):
        assert context.scratch is not None  # the child gives one
        context.scratch.mkdir(exist_ok=True)
        bridged = apply_bridges(scene, prepare(scene, record, request.gsd).bridges, context.scratch)
        draft["bridges"] = list(bridged.bridges)
    with recorder.phase("load"):
        method = load_method(record, config, request, draft)
        draft["manifest"] = manifest()
    with recorder.phase("refine"):
        refine(record, method, bridged.without_reference(), context, request, draft)
    with recorder.phase("evaluate"):
        score(bridged, request, draft)
    if (write := official_function(record, request, "write_outputs")) is not None:
        with recorder.phase("official files"):
            draft["warnings"] += write(Path(str(request.config)), request.scene.name, request.folder)
    written = [name for name in draft["outputs"].values() if (request.folder / name).is_file()]  # folders hold logs
    draft["hashes"]["outputs"] = {name: hash_file(request.folder / name) for name in written}


def load_method(record: MethodRecord, config: ResolvedConfig, request: CellRequest, draft: dict[str, Any]) -> Any:  # noqa: ANN401  # the plugin's class
    """Return the method's instance with its weights.

    Raises
    ------
    SkippedError
        A package or the weights are missing; the message names the command that brings them.
    """
    check_packages(record)
    weights = find_weights(record, request.weights, config.values.get("weights"))
    if weights is None and record.needs_weights:
        raise SkippedError(
            f"{record.name} has no weights here; bring some with: "
            f"refbench import-weights --method {record.name} SOURCE --out FOLDER, then --weights FOLDER."
        )
    if weights is not None:
        draft["weights"] = str(weights)
        draft["hashes"]["weights"] = hash_tree(weights)
    set_threads(request.threads or _asked_threads(), record)
    try:
        return record.load()(config.instance, weights)
    except WeightsError as error:
        raise InputError(f"{error}") from error


def set_threads(threads: int | None, record: MethodRecord) -> None:
    """Set the number of threads of torch where the method uses it: as asked, else all cores of this process.

    BLAS reads the environment that the parent set.
    """
    if "torch" in (*record.packages, *sys.modules):
        import torch

        torch.set_num_threads(threads or _cores())
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _asked_threads() -> int | None:
    """Return what the user's environment says of threads."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def refine(
    record: MethodRecord,
    method: Any,  # noqa: ANN401  # the plugin's class
    scene: Scene,
    context: Context,
    request: CellRequest,
    draft: dict[str, Any],
) -> None:
    """Run the method and write what it gives."""
    folder, outputs = request.folder, draft.setdefault("outputs", {})
    tags = {"REFBENCH_METHOD": record.name, "REFBENCH_CONFIG_SHA256": draft["hashes"]["config"]}
    if not isinstance(method, TileMethod):
        prediction: Prediction = method.refine(scene, context)
        write_prediction(prediction, scene, folder, request.nodata, tags, outputs)
        draft["notes"] = dict(prediction.notes)
        return
    draft["notes"] = dict(method.prepare(scene, context))
    needs = (*record.needs, *record.optional)
    names = {layer: CONFIDENCE if layer == CONFIDENCE else f"dsm_{layer}" for layer in method.layers()}
    files = {DSM: DSM_FILE, **{layer: f"{name}.tif" for layer, name in names.items()}}
    grid = scene.require_grid()
    with contextlib.ExitStack() as stack:
        writers = {
            layer: stack.enter_context(
                DSMWriter(
                    folder / file,
                    grid,
                    nodata=request.nodata,
                    tags=tags,
                    description=CONFIDENCE if layer == CONFIDENCE else "height",
                )
            )
            for layer, file in files.items()
        }
        run_tiles(method, scene, context, writers.pop(DSM), needs=needs, fills=record.fills, layers=writers)
    outputs |= {DSM: DSM_FILE, **{names[layer]: files[layer] for layer in names}}


def write_prediction(
    prediction: Prediction, scene: Scene, folder: Path, nodata: float, tags: dict[str, str], outputs: dict[str, str]
) -> None:
    """Write the DSM, its confidence and provenance, depth maps and pictures; keep what the method left in its scratch.

    Raises
    ------
    InputError
        The method returned a DSM on another grid than the scene's.
    """
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
