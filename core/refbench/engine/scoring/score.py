"""Scoring what a job wrote: its DSM, its depth maps, its views, each against the scene's reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refbench.engine.job.draft import Scored
from refbench.engine.scoring.assess import Surfaces, assess_pair, with_assessors
from refbench.evaluation.layer_strata import scene_masks
from refbench.formats.raster import open_image, open_written_dsm
from refbench.formats.raster_access import STRIP_CACHE_BYTES, block_cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.raster import DSM, Image, Mask
    from refbench.contracts.scene import Scene, View
    from refbench.contracts.source import RasterSource
    from refbench.engine.job.request import JobRequest
    from refbench.evaluation.shift import Shift

COREGISTRATION = "coregistration"
"""Where the shift that was applied to the DSMs stands in a result's metrics."""
EMPTY: dict[str, Any] = {"input": None, "refined": None, "own_domain": {"input": None, "refined": None}, "gain": None}


@dataclass(frozen=True, eq=False)
class Pair:
    """The DSMs of a job, each on its own grid, unread."""

    initial: RasterSource[DSM] | None
    refined: RasterSource[DSM]


def score(scene: Scene, request: JobRequest, outputs: Mapping[str, str]) -> Scored:
    """Return the metrics of all that was written (name -> file in the request's folder), or why there are none."""
    dsm = score_dsm(scene, request, outputs) if "dsm" in outputs else Scored(reason="The method returned no DSM.")
    depth, warnings = depth_metrics(scene, request, outputs)
    further = {**depth, **view_metrics(scene, request, outputs)}
    metrics = {**(dsm.metrics or EMPTY), **further} if further else dsm.metrics
    return Scored(metrics=metrics, reason=dsm.reason, warnings=(*dsm.warnings, *warnings))


def score_dsm(scene: Scene, request: JobRequest, outputs: Mapping[str, str]) -> Scored:
    """Return the scores of input and refined on the same pixels, or why there is nothing to score."""
    reference = scene.reference.dsm if scene.reference is not None else None
    reason = "The scene has no reference DSM." if reference is None else None
    if reference is None and not request.assessors:
        return Scored(reason=reason)
    refined: RasterSource[DSM] = open_written_dsm(request.folder / outputs["dsm"], scene.require_grid())
    pair, masks, kernel = Pair(scene.dsm, refined), scene_masks(scene), request.resampling
    metrics: dict[str, Any] | None = None
    warnings: list[str] = []
    if reference is not None:
        from refbench.evaluation.grids import used_kernel  # brings scipy

        assert refined.grid is not None and reference.grid is not None  # DSMs have one
        kernel = used_kernel(kernel, refined.grid, reference.grid)
        with block_cache(STRIP_CACHE_BYTES):
            pair, shift = coregistered(pair, reference, masks, request, warnings)
            metrics = compare(scene, pair, request, masks, shift, kernel)
        warnings += [
            f"{name}: {text}"
            for name in ("input", "refined")
            for text in ((metrics[name] or {}).get("notes") or {}).get("warnings", ())
        ]
        warnings += worse_than_input(metrics)
    if request.assessors:
        surfaces = in_memory(pair, reference, masks, kernel)
        found, failed = assess_pair(surfaces, request.assessors, request.assessor_options)
        metrics = with_assessors(metrics, found)
        warnings += failed
    return Scored(metrics=metrics, reason=reason, warnings=tuple(warnings))


def worse_than_input(metrics: Mapping[str, Any]) -> list[str]:
    """Return a warning where the whole interval of MAE(refined) - MAE(input), by paired blocks, is above 0."""
    difference = metrics.get("mae_difference")
    if difference is None or not difference["low"] > 0:
        return []
    before, after = metrics["input"]["all"]["mae"], metrics["refined"]["all"]["mae"]
    return [
        f"The refined DSM is worse than the input: MAE {after:.3f} m against {before:.3f} m; the difference is "
        f"{difference['low']:.3f} to {difference['high']:.3f} m (95 % interval)."
    ]


def coregistered(
    pair: Pair,
    reference: RasterSource[DSM],
    masks: Mapping[str, RasterSource[Mask]],
    request: JobRequest,
    warnings: list[str],
) -> tuple[Pair, Shift | None]:
    """Return the DSMs, moved by the one shift of the initial one where the protocol asks for it."""
    if request.coregister == "none":
        return pair, None
    if pair.initial is None:
        warnings.append("Nothing was coregistered: the scene has no initial DSM to find the shift from.")
        return pair, None
    from refbench.evaluation.coregistration import coregister  # brings scipy
    from refbench.evaluation.streaming.sources import Moved

    shift = coregister(pair.initial, reference, masks)
    return Pair(Moved(pair.initial, shift), Moved(pair.refined, shift)), shift


def in_memory(
    pair: Pair, reference: RasterSource[DSM] | None, masks: Mapping[str, RasterSource[Mask]], kernel: str
) -> Surfaces:
    """Return the DSMs on the grid of the reference, by the protocol's kernel, for assessors: they see whole rasters."""
    from refbench.evaluation.grids import on_grid  # brings scipy

    known = None if reference is None else reference.read()
    dsms = [None if source is None else source.read() for source in (pair.refined, pair.initial)]
    refined, initial = (dsm if known is None or dsm is None else on_grid(dsm, known, kernel) for dsm in dsms)
    assert refined is not None  # the job wrote one
    return Surfaces(initial, refined, known, {name: mask.read() for name, mask in masks.items()})


def compare(
    scene: Scene,
    pair: Pair,
    request: JobRequest,
    masks: Mapping[str, RasterSource[Mask]],
    shift: Shift | None = None,
    kernel: str = "bilinear",
) -> dict[str, Any]:
    """Return the metrics of input and refined against the reference, which are read by window where they are large."""
    from refbench.evaluation.evaluate import evaluate_pair  # brings scipy, for scored jobs only

    assert scene.reference is not None and scene.reference.dsm is not None  # the caller looked
    found = evaluate_pair(
        pair.initial,
        pair.refined,
        scene.reference.dsm,
        masks,
        gt_mask=scene.reference.mask,
        kernel=kernel,
        bootstrap=request.bootstrap,
        seed=request.seed,
        memory_bytes=request.memory_budget_bytes,
    )
    for scores in (found["input"], found["refined"]):
        if scores is not None and kernel != "bilinear":
            scores["notes"]["resampling"] = f"{kernel}; masks nearest"
    if shift is not None:
        found[COREGISTRATION] = shift.values()
        for scores in (found["input"], found["refined"]):
            scores["notes"]["coregistration"] = f"initial-once: every DSM was moved by {shift}"
    return found


def depth_metrics(scene: Scene, request: JobRequest, outputs: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return ``depth`` and ``depth_input``: view -> scores of the refined and of the initial depth map; and warnings.

    The initial one is the view's own or, where it has none, that of the initial DSM. As with DSMs, both are scored on
    the pixels that both know; ``completeness_valid`` is that of each.
    """
    references = scene.reference.depths if scene.reference is not None else {}
    written = {name: f"depth_{name}" for name in references if f"depth_{name}" in outputs}
    warnings: list[str] = []
    if not written:
        return {}, warnings
    found: dict[str, dict[str, Any]] = {"depth": {}, "depth_input": {}}
    dsm = scene.dsm.read() if scene.dsm is not None else None
    for name, key in written.items():
        reference = _band(references[name])
        refined = _band(open_image(request.folder / outputs[key], in_camera=True))
        if refined.shape != reference.shape:
            warnings.append(f"The depth map of {name} has not the size of its reference; it is not scored.")
            continue
        initial = initial_depth(scene.views.get(name), dsm, reference.shape)
        found["depth"][name] = _scores(refined, reference, refined if initial is None else initial)
        if initial is not None:
            found["depth_input"][name] = _scores(initial, reference, refined)
    return {key: values for key, values in found.items() if values}, warnings


def initial_depth(view: View | None, dsm: DSM | None, shape: tuple[int, int]) -> Any:  # noqa: ANN401  # an array
    """Return a view's own depth map [rows, cols], else that of a DSM, NaN unknown; None where neither has ``shape``."""
    if view is None:
        return None
    if view.depth is not None:
        depth = _band(view.depth)
        return depth if depth.shape == shape else None
    if dsm is None:
        return None
    from refbench.geometry.depth import render_depth

    return render_depth(dsm, view.camera, shape)


def view_metrics(scene: Scene, request: JobRequest, outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return ``views``: view -> scores of a rendered image against the image of the same camera."""
    written = {name: f"view_{name}" for name in scene.views if f"view_{name}" in outputs}
    if not written:
        return {}
    from refbench.evaluation.view_scores import view_scores

    found = {}
    for name, key in written.items():
        rendered = open_image(request.folder / outputs[key], in_camera=True).read()
        found[name] = view_scores(rendered, scene.views[name].image.read())
    return {"views": found}


def _scores(depth: Any, reference: Any, other: Any) -> dict[str, Any]:  # noqa: ANN401  # arrays
    """Return the scores of a depth map where another one is known, too: nothing is scaled or shifted."""
    import numpy as np

    from refbench.evaluation.depth_maps import depth_scores

    scores = depth_scores(np.where(np.isfinite(other), depth, np.nan), reference)
    scores["completeness_valid"] = depth_scores(depth, reference)["completeness_valid"]
    return {key: value for key, value in scores.items() if key != "alignment"}


def _band(source: RasterSource[Image]) -> Any:  # noqa: ANN401  # an array
    """Return the depths [rows, cols] of an image, NaN where unknown."""
    import numpy as np

    image = source.read()
    depth = image.pixels[0].astype(np.float32)
    return depth if image.valid is None else np.where(image.valid, depth, np.float32(np.nan))
