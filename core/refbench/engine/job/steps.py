"""What a job does: open, bridge, load, refine, write, score. Runs in the job's own process."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from refbench.bridges.plan import apply_bridges, apply_optional
from refbench.contracts.errors import InputError, SkippedError, WeightsError
from refbench.contracts.method import NamesWeights
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.device import check_device
from refbench.engine.inputs.domain import changed_weights, outside_domain, weights_domain
from refbench.engine.inputs.prepare import prepare
from refbench.engine.inputs.scene import official_run, open_scene
from refbench.engine.inputs.weights import find_weights
from refbench.engine.job.draft import Exported, Machine, Opened, Prepared, Weights, Written
from refbench.engine.job.manifest import manifest
from refbench.engine.job.refine import refine
from refbench.engine.scoring.score import score
from refbench.files.hashing import hash_file, hash_inputs, hash_tree, hash_values
from refbench.registry.registry import load_registry
from refbench.registry.requirements import check_packages

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
    with recorder.phase("load"):
        weights = asked_weights(record, config, request)
        weights_domain(weights)  # an impossible one ends the job before the work
        recorder.add(weights_part(weights))
        method = load_method(record, config, weights, request.threads)
        recorder.add(Machine(manifest=manifest()))
    gc.freeze()  # modules and the method stay; what it makes from here on is looked through as usual
    gc.enable()
    with recorder.phase("refine"):
        tags = {"REFBENCH_METHOD": record.name, "REFBENCH_CONFIG_SHA256": str(opened.config_hash)}
        refined = refine(record, method, bridged.without_reference(), context, request, recorder, tags)
        recorder.add(refined)
        used = method.weights_used if isinstance(method, NamesWeights) else weights
        recorder.add(weights_part(used, weights_warnings(weights, used, bridged)))
    with recorder.phase("evaluate"):
        recorder.add(score(bridged, request, refined.outputs))
    if (official := official_run(request, config)) is not None:
        with recorder.phase("official files"):
            said = official.write_outputs(request.scene.name, request.folder)
            recorder.add(Exported(warnings=tuple(said)))
    files = [name for name in refined.outputs.values() if (request.folder / name).is_file()]  # folders hold logs
    recorder.add(Written(hashes={name: hash_file(request.folder / name) for name in files}))


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


def asked_weights(record: MethodRecord, config: ResolvedConfig, request: JobRequest) -> Path | None:
    """Return the weights that were asked for, else the method's own; None where it needs none.

    Raises
    ------
    SkippedError
        A package or the weights are missing; the message names the command that brings them.
    """
    check_packages(record)
    weights = find_weights(record, request.weights, config.values.get("weights"))
    if weights is None and record.needs_weights:
        ways = [f"refbench import-weights --method {record.name} SOURCE --out FOLDER"] * record.imports_weights()
        ways += [f"refbench train SCENES --method {record.name} --out FOLDER"] * record.trainable
        how = (
            f"bring some with: {', or '.join(ways)}, then --weights FOLDER" if ways else "give some as --weights FOLDER"
        )
        raise SkippedError(f"{record.name} has no weights here; {how}.")
    return weights


def weights_part(weights: Path | None, warnings: tuple[str, ...] = ()) -> Weights:
    """Return path and hashes of weights, and what has to be said of them."""
    hashes = {} if weights is None else hash_tree(weights)
    return Weights(path=None if weights is None else str(weights), hashes=hashes, warnings=warnings)


def weights_warnings(asked: Path | None, used: Path | None, scene: Scene) -> tuple[str, ...]:
    """Return where other weights ran than ``asked``, and where the scene lies outside the domain of those that did."""
    return (*changed_weights(asked, used), *outside_domain(weights_domain(used), scene))


def load_method(record: MethodRecord, config: ResolvedConfig, weights: Path | None, threads: int | None) -> Any:  # noqa: ANN401  # the plugin's class
    """Return the method's instance with its weights.

    Raises
    ------
    InputError
        The weights cannot be read or do not fit.
    """
    set_threads(threads or _asked_threads(), record)
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
