"""Scoring a DSM against a reference: everything that goes under ``metrics``, as plain JSON-ready dictionaries."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.raster import DSM
from refbench.evaluation.conventions import CONVENTIONS, LAYERS, own_completeness
from refbench.evaluation.grids import KERNEL, on_grid
from refbench.evaluation.ground import Ground
from refbench.evaluation.misalignment import misalignment_warnings
from refbench.evaluation.statistics import relative_gain
from refbench.evaluation.streaming.evaluate import INPUT, REFINED, scores_of_one, scores_of_pair
from refbench.evaluation.surfaces import grid_of, in_memory, is_large, rasters_of
from refbench.evaluation.uncertainty import LEVEL, interval, intervals, paired_difference

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.evaluation.ground import Ordered
    from refbench.evaluation.surfaces import AnyDSM, AnyMask

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

MEMORY_BYTES = 2 << 30


def evaluate(
    evaluated: AnyDSM,
    reference: AnyDSM,
    masks: Mapping[str, AnyMask] | None = None,
    *,
    gt_mask: AnyMask | None = None,
    domain: Bools | None = None,
    layers: Collection[str] = LAYERS,
    bootstrap: bool = True,
    seed: int = 0,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[str, Any]:
    """Return stratum -> key -> value (None where missing), with ``shape``, ``intervals`` and ``notes`` beside.

    Parameters
    ----------
    evaluated
        The DSM to score, or a source of one, which is read by window where it is large; on another grid it is
        resampled to that of the reference.
    reference
        The reference DSM, metres, or a source.
    masks
        Class masks by name, or sources; ``building``, ``water``, ``forest`` make the strata of ResDepth and ImpliCity.
    gt_mask
        Where the reference counts: 1.
    domain
        A further restriction, bool on the reference's grid: what other DSMs are valid on, for a common domain. With
        one, everything is scored in memory.
    layers
        Of ``LAYERS``: land strata, slope classes (percent, on the reference), slopes, normals, edges, planes.
    bootstrap
        Whether to give 95 % intervals for the stratum ``all``.
    seed
        Of the bootstrap.
    memory_bytes
        Bounds the strips that are read of large rasters; the numbers do not depend on it.

    Raises
    ------
    InputError
        The reference's CRS is geographic: slopes need metres. A mask on a grid of another CRS.
    """
    if domain is None and is_large(evaluated, reference):
        rasters = rasters_of({REFINED: evaluated}, reference, masks, gt_mask)
        grid = grid_of(evaluated)
        return scores_of_one(rasters, grid, layers, bootstrap=bootstrap, seed=seed, budget_bytes=memory_bytes)
    evaluated, reference = in_memory(evaluated), in_memory(reference)
    held_masks = {name: in_memory(mask) for name, mask in (masks or {}).items()}
    ground = Ground(reference, held_masks, None if gt_mask is None else in_memory(gt_mask), domain, seed=seed)
    return scored(
        ground, on_grid(evaluated, reference), evaluated.grid, layers, bootstrap="common" if bootstrap else ""
    )


def scored(
    ground: Ground,
    dsm: DSM,
    grid: Grid | None,
    layers: Collection[str] = LAYERS,
    *,
    bootstrap: str = "",
    ordered: Ordered | None = None,
) -> dict[str, Any]:
    """Return ``evaluate`` of a DSM that is on the reference's grid already.

    ``grid`` is the one that it came on; None where nobody asks for warnings. ``bootstrap`` names the domain whose draws
    the intervals come from: DSMs that are valid on the same pixels share them. Empty: no intervals. ``ordered`` are
    its residuals where the caller has sorted them.
    """
    residuals = ground.residuals(dsm)
    valid = ground.base & dsm.valid
    if ordered is None:
        ordered = ground.ordered(residuals, valid, layers)
    found: dict[str, Any] = dict(ground.statistics(ordered))
    if "shape" in layers:
        found["shape"] = ground.shape(dsm, valid)
    if bootstrap:
        of_all = intervals(residuals, ground.draws(bootstrap, "all", valid))
        found["intervals"] = {
            "all": {key: None if of is None else asdict(of) for key, of in of_all.items()},
            "level": LEVEL,
        }
    found["notes"] = dict(CONVENTIONS)
    if grid is not None and {"slope", "shape"} & set(layers):
        found["notes"]["warnings"] = misalignment_warnings(
            dsm.heights, ground.surface, valid, (grid, ground.reference.grid), found["all"]["median"] or 0.0
        )
    if not valid.any():
        found["notes"]["empty"] = "No pixel is valid in both: every metric is null."
    return found


def evaluate_pair(
    initial: AnyDSM | None,
    refined: AnyDSM,
    reference: AnyDSM,
    masks: Mapping[str, AnyMask] | None = None,
    *,
    gt_mask: AnyMask | None = None,
    kernel: str = KERNEL,
    bootstrap: bool = True,
    seed: int = 0,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[str, Any]:
    """Return ``input`` and ``refined`` on their common pixels, ``own_domain`` for each on its own, and the ``gain``.

    ``input`` is None where there is no initial DSM. ``completeness_valid`` beside the errors is each one's own, over
    the reference's domain: a method that drops hard pixels lowers its error and shows it here. ``refined`` has the
    metrics of the pair as well: what the refinement did to the input, pixel by pixel. DSMs on other grids are
    resampled by ``kernel``; the rest is as ``evaluate`` takes it.
    """
    options: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed}
    if is_large(initial, refined, reference):
        surfaces = {INPUT: initial, REFINED: refined} if initial is not None else {REFINED: refined}
        rasters = rasters_of(surfaces, reference, masks, gt_mask, kernel)
        grids = {name: grid_of(surface) for name, surface in surfaces.items()}
        if initial is None:
            return _alone(scores_of_one(rasters, grids[REFINED], LAYERS, **options, budget_bytes=memory_bytes))
        return scores_of_pair(rasters, grids, **options, budget_bytes=memory_bytes)
    reference = in_memory(reference)
    held_masks = {name: in_memory(mask) for name, mask in (masks or {}).items()}
    counted = None if gt_mask is None else in_memory(gt_mask)
    aligned = on_grid(in_memory(refined), reference, kernel)
    if initial is None:
        return _alone(evaluate(aligned, reference, held_masks, gt_mask=counted, **options))
    pair = {INPUT: on_grid(in_memory(initial), reference, kernel), REFINED: aligned}
    return _pair(pair, Ground(reference, held_masks, counted, seed=seed), bootstrap=bootstrap)


def _alone(scores: dict[str, Any]) -> dict[str, Any]:
    """Return ``evaluate_pair`` where there is no initial DSM."""
    return {INPUT: None, REFINED: scores, "own_domain": {INPUT: None, REFINED: scores}, "gain": None}


def _pair(pair: Mapping[str, DSM], ground: Ground, *, bootstrap: bool) -> dict[str, Any]:
    """Return ``evaluate_pair`` of two DSMs on the grid of the reference."""
    common = pair[INPUT].valid & pair[REFINED].valid
    metrics: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, dsm in pair.items():
        masked = DSM(np.where(common, dsm.heights, np.float32(np.nan)), dsm.grid)
        residuals = ground.residuals(dsm)
        ordered = ground.ordered(residuals, ground.base & common, LAYERS)
        scores = scored(ground, masked, dsm.grid, bootstrap="common" if bootstrap else "", ordered=ordered)
        metrics[name] = scores
        more = ground.base & dsm.valid & ~common
        if more.any():
            every = ground.ordered(residuals, more, LAYERS, ordered)
            own[name] = {**ground.statistics(every, ("all", *ground.land)), "notes": dict(CONVENTIONS)}
        else:  # the same pixels
            own[name] = {key: copy.deepcopy(scores[key]) for key in ("all", *ground.land, "notes")}
        own_completeness(scores, own[name])
    metrics["own_domain"] = own
    metrics["gain"] = relative_gain(metrics["input"]["all"], metrics["refined"]["all"])
    errors = ground.residuals(pair[INPUT]), ground.residuals(pair[REFINED])
    for stratum, values in ground.pair(*errors, ground.base & common, LAYERS).items():
        metrics["refined"][stratum] |= values
    if bootstrap:
        draws = ground.draws("common", "all", ground.base & common)
        difference = paired_difference(*errors, draws)
        metrics["mae_difference"] = None if difference is None else asdict(difference)
        samples = {} if draws is None else ground.pair_samples(*errors, draws)
        metrics["refined"]["intervals"]["all"] |= {
            key: asdict(interval(drawn, draws.blocks)) for key, drawn in samples.items() if draws is not None
        }
    return metrics
