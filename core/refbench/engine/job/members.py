"""Methods that run for another method: each as it would alone, bridges and weights included, its answer in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.bridges.plan import apply_bridges, apply_optional
from refbench.contracts.errors import ArrayError, MethodError
from refbench.contracts.method import MemberAnswer, NamesWeights, Prediction, tile_method_of
from refbench.contracts.raster import DSM
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.domain import changed_weights, outside_domain, weights_domain
from refbench.engine.inputs.method import asked_weights, load_method
from refbench.engine.inputs.prepare import prepare
from refbench.engine.job.outputs import checked, with_nodata
from refbench.engine.tiles.stream import CONFIDENCE, ArrayWriter, run_tiles
from refbench.engine.tiles.stream import DSM as DSM_LAYER
from refbench.files.hashing import hash_tree
from refbench.formats.raster import ArraySource
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.method import Context
    from refbench.contracts.scene import Scene
    from refbench.registry.records import MethodRecord


def run_method(name: str, scene: Scene, context: Context, options: Mapping[str, Any]) -> MemberAnswer:
    """Run a method for another one; see ``refbench.contracts.method.RunsMethods``.

    Its scratch folder and checkpoints lie below those of ``context``, by its name. Heights stay NaN where the initial
    DSM has none and the method does not fill. Memory: the whole raster, 4 bytes a pixel for the DSM and for each layer.
    """
    record = load_registry().methods.get(name)
    config = load_config(record, None, options)
    weights = asked_weights(record, config)
    own = replace(
        context, scratch=_below(context, name), checkpoints=context.checkpoints and context.checkpoints / name
    )
    preparation = prepare(scene, record)
    assert own.scratch is not None  # a job gives one
    bridged, said = apply_optional(
        apply_bridges(scene, preparation.bridges, own.scratch), preparation.optional, own.scratch
    )
    bridged = bridged.without_reference()
    method = load_method(record, config, weights, context.threads)
    try:
        prediction = _answer(record, method, bridged, own)
    except (ArrayError, MethodError) as error:
        raise MethodError(f"{record.name} did not keep to its contract: {error}") from error
    used = method.weights_used if isinstance(method, NamesWeights) else weights
    made = bridged.bridges[len(scene.bridges) :]
    notes = {
        "configuration": config.source,
        "weights": None if used is None else {"path": str(used), "hashes": hash_tree(used)},
        "bridges": list(made),
        **({"notes": dict(prediction.notes)} if prediction.notes else {}),
    }
    warnings = (*said, *changed_weights(weights, used), *outside_domain(weights_domain(used), bridged))
    return MemberAnswer(prediction, notes, warnings)


def _below(context: Context, name: str) -> Any:  # noqa: ANN401  # a path, or None as in the context
    """Return the member's scratch folder, made; None where there is none."""
    if context.scratch is None:
        return None
    folder = context.scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _answer(record: MethodRecord, method: Any, scene: Scene, context: Context) -> Prediction:  # noqa: ANN401  # the plugin's class
    """Return what the method gives on a scene that holds what it needs."""
    tiled = tile_method_of(method, scene)
    if tiled is None:
        given = checked(method.refine(scene, context), scene)
        return given if record.fills else with_nodata(given, scene)
    notes = dict(tiled.prepare(scene, context))
    grid = scene.require_grid()
    names = (DSM_LAYER, *tiled.layers(), *tiled.quality_layers())
    arrays = {layer: ArrayWriter(np.full(grid.shape, np.nan, np.float32)) for layer in names}
    layers = {layer: writer for layer, writer in arrays.items() if layer != DSM_LAYER}
    needs = (*record.needs, *record.optional)
    run_tiles(tiled, scene, context, arrays[DSM_LAYER], needs=needs, fills=record.fills, layers=layers)
    dsm = DSM(arrays[DSM_LAYER].heights, grid)
    notes |= tiled.finish(ArraySource(dsm), context).notes
    confidence = arrays[CONFIDENCE].heights if CONFIDENCE in arrays else None
    return Prediction(dsm, confidence=confidence, notes=notes)
