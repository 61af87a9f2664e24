"""Scoring a DSM against a reference: everything that goes under ``metrics``, as plain JSON-ready dictionaries."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.raster import DSM
from refbench.evaluation.grids import KERNEL, on_grid
from refbench.evaluation.ground import Ground
from refbench.evaluation.metrics.residual import COMMON
from refbench.evaluation.misalignment import misalignment_warnings
from refbench.evaluation.statistics import relative_gain
from refbench.evaluation.uncertainty import LEVEL, interval, intervals, paired_difference

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import Mask
    from refbench.evaluation.ground import Ordered

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

LAYERS = ("strata", "slope", "shape")
CONVENTIONS = {
    "residual": "evaluated minus reference, metres",
    "nmad": "1.4826 median|e - median e|",
    "le90": "90th percentile of |e|",
    "resampling": f"{KERNEL}, any invalid contributor makes the pixel invalid; masks nearest",
    "coregistration": "none",
}
COMPLETENESS = "completeness_valid"


def evaluate(
    evaluated: DSM,
    reference: DSM,
    masks: Mapping[str, Mask] | None = None,
    *,
    gt_mask: Mask | None = None,
    domain: Bools | None = None,
    layers: Collection[str] = LAYERS,
    bootstrap: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Return stratum -> key -> value (None where missing), with ``shape``, ``intervals`` and ``notes`` beside.

    Parameters
    ----------
    evaluated
        The DSM to score; on another grid it is resampled to that of the reference.
    reference
        The reference DSM, metres.
    masks
        Class masks by name; ``building``, ``water``, ``forest`` make the strata of ResDepth and ImpliCity.
    gt_mask
        Where the reference counts: 1.
    domain
        A further restriction, bool on the reference's grid: what other DSMs are valid on, for a common domain.
    layers
        Of ``LAYERS``: land strata, slope classes (percent, on the reference), slopes, normals, edges, planes.
    bootstrap
        Whether to give 95 % intervals for the stratum ``all``.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        The reference's CRS is geographic: slopes need metres. A mask on a grid of another CRS.
    """
    ground = Ground(reference, masks, gt_mask, domain, seed=seed)
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
    initial: DSM | None,
    refined: DSM,
    reference: DSM,
    masks: Mapping[str, Mask] | None = None,
    *,
    gt_mask: Mask | None = None,
    bootstrap: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Return ``input`` and ``refined`` on their common pixels, ``own_domain`` for each on its own, and the ``gain``.

    ``input`` is None where there is no initial DSM. ``completeness_valid`` beside the errors is each one's own, over
    the reference's domain: a method that drops hard pixels lowers its error and shows it here. ``refined`` has the
    metrics of the pair as well: what the refinement did to the input, pixel by pixel.
    """
    refined = on_grid(refined, reference)
    if initial is None:
        alone = evaluate(refined, reference, masks, gt_mask=gt_mask, bootstrap=bootstrap, seed=seed)
        return {"input": None, "refined": alone, "own_domain": {"input": None, "refined": alone}, "gain": None}
    pair = {"input": on_grid(initial, reference), "refined": refined}
    ground = Ground(reference, masks, gt_mask, seed=seed)
    common = pair["input"].valid & refined.valid
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
        for stratum, values in own[name].items():
            if isinstance(scores.get(stratum), dict) and COMPLETENESS in values:
                scores[stratum][COMMON.key] = scores[stratum][COMPLETENESS]
                scores[stratum][COMPLETENESS] = values[COMPLETENESS]
    metrics["own_domain"] = own
    metrics["gain"] = relative_gain(metrics["input"]["all"], metrics["refined"]["all"])
    errors = ground.residuals(pair["input"]), ground.residuals(refined)
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
