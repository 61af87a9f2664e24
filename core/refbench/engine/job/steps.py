"""What a job does: open, bridge, load, refine, write, score. Runs in the job's own process."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from refbench.bridges.plan import apply_bridges, apply_optional
from refbench.contracts.method import NamesWeights
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.device import check_device
from refbench.engine.inputs.domain import changed_weights, outside_domain, weights_domain
from refbench.engine.inputs.method import asked_weights, load_method
from refbench.engine.inputs.prepare import prepare
from refbench.engine.inputs.scene import official_run, open_scene
from refbench.engine.job.back import write_back
from refbench.engine.job.draft import Exported, Machine, Opened, Prepared, Refined, Scored, Weights, Written
from refbench.engine.job.join import join
from refbench.engine.job.manifest import manifest
from refbench.engine.job.refine import refine
from refbench.engine.scoring.score import score
from refbench.files.hashing import hash_file, hash_inputs, hash_tree, hash_values
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.method import Context
    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.engine.job.recorder import Recorder
    from refbench.engine.job.request import JobRequest
    from refbench.registry.records import MethodRecord


def execute(request: JobRequest, context: Context, recorder: Recorder) -> None:
    """Run the job of ``request``; what each phase finds goes to ``recorder``, files to the job's folder.

    Raises
    ------
    RefbenchError
        As the readers, the bridges, the method and the writers do.
    """
    with recorder.phase("open"):
        record = load_registry().methods.get(request.method)
        check_device(request.device)
        config = load_config(record, request.config, request.overrides)
        scene = open_scene(request, config)
        opened = opened_part(scene, config)
        recorder.add(opened)
    with recorder.phase("prepare"):
        assert context.scratch is not None  # the child gives one
        context.scratch.mkdir(exist_ok=True)
        preparation = prepare(scene, record, request.gsd, request.no_bridges)
        bridged = apply_bridges(scene, preparation.bridges, context.scratch)
        bridged, notes = apply_optional(bridged, preparation.optional, context.scratch)
        recorder.add(Prepared(bridges=bridged.bridges, warnings=notes))
    tags = {"REFBENCH_METHOD": record.name, "REFBENCH_CONFIG_SHA256": str(opened.config_hash)}
    if request.strips:
        with recorder.phase("join"):
            recorder.add(Machine(manifest=manifest()))
            refined, weights, noted = join(bridged, request, opened, recorder.draft.prepared, tags)
            if request.back:
                refined = write_back(scene, request, refined, tags, record.fills)
            for part in (refined, weights, noted):
                recorder.add(part)
    else:
        refined = _refined(record, config, scene, bridged, context, request, recorder, tags)
    if request.region is not None:
        recorder.add(
            Scored(reason=f"Region {request.region.index} of {request.region.of}: scored when all are joined.")
        )
    else:
        with recorder.phase("evaluate"):
            recorder.add(score(bridged, request, refined.outputs))
        if (official := official_run(request, config)) is not None:
            with recorder.phase("official files"):
                said = official.write_outputs(request.scene.name, request.folder)
                recorder.add(Exported(warnings=tuple(said)))
    files = [name for name in refined.outputs.values() if (request.folder / name).is_file()]  # folders hold logs
    recorder.add(Written(hashes={name: hash_file(request.folder / name) for name in files}))


def _refined(
    record: MethodRecord,
    config: ResolvedConfig,
    source: Scene,
    scene: Scene,
    context: Context,
    request: JobRequest,
    recorder: Recorder,
    tags: dict[str, str],
) -> Refined:
    """Load the method and run it on the bridged scene; return what was written, ``source`` is the scene as it came."""
    with recorder.phase("load"):
        weights = asked_weights(record, config, request.weights)
        weights_domain(weights)  # an impossible one ends the job before the work
        recorder.add(weights_part(weights))
        method = load_method(record, config, weights, request.threads)
        recorder.add(Machine(manifest=manifest()))
    gc.freeze()  # modules and the method stay; what it makes from here on is looked through as usual
    gc.enable()
    with recorder.phase("refine"):
        refined = refine(record, method, scene.without_reference(), context, request, recorder, tags)
        if request.back and request.region is None:
            refined = write_back(source, request, refined, tags, record.fills)
        recorder.add(refined)
        used = method.weights_used if isinstance(method, NamesWeights) else weights
        recorder.add(weights_part(used, weights_warnings(weights, used, scene)))
    return refined


def opened_part(scene: Scene, config: ResolvedConfig) -> Opened:
    """Return what is known of scene and configuration, with their hashes."""
    return Opened(
        scene=scene.id,
        config=config.values,
        config_source=config.source,
        config_hash=hash_values(config.values),
        inputs=hash_inputs(scene),
        warnings=(*scene.warnings, *config.notes),
    )


def weights_part(weights: Path | None, warnings: tuple[str, ...] = ()) -> Weights:
    """Return path and hashes of weights, and what has to be said of them."""
    hashes = {} if weights is None else hash_tree(weights)
    return Weights(path=None if weights is None else str(weights), hashes=hashes, warnings=warnings)


def weights_warnings(asked: Path | None, used: Path | None, scene: Scene) -> tuple[str, ...]:
    """Return where other weights ran than ``asked``, and where the scene lies outside the domain of those that did."""
    return (*changed_weights(asked, used), *outside_domain(weights_domain(used), scene))
