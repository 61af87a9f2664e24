"""Scoring a DSM against a reference: everything that goes under ``metrics``, as plain JSON-ready dictionaries."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from refbench.contracts.errors import InputError
from refbench.contracts.raster import DSM, Mask
from refbench.evaluation.misalignment import misalignment_warnings
from refbench.evaluation.shape import Surface, roof_planes, shape_errors, step_edge_scores
from refbench.evaluation.slope import slope_rad
from refbench.evaluation.statistics import harm_rate, ordered_statistics, relative_gain
from refbench.evaluation.strata import land_strata, slope_strata
from refbench.evaluation.uncertainty import LEVEL, block_bootstrap, paired_difference
from refbench.geometry.warp import warp_dsm, warp_mask

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

LAYERS = ("strata", "slope", "shape")
KERNEL = "bilinear"
MAX_STRATA = 64
CONVENTIONS = {
    "residual": "evaluated minus reference, metres",
    "nmad": "1.4826 median|e - median e|",
    "le90": "90th percentile of |e|",
    "resampling": f"{KERNEL}, any invalid contributor makes the pixel invalid; masks nearest",
    "coregistration": "none",
}


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
        The truth.
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
    check_metric(reference)
    aligned = on_grid(evaluated, reference)
    masks = {name: mask_on_grid(mask, reference) for name, mask in (masks or {}).items()}
    base = _base_domain(reference, gt_mask, domain)
    heights = aligned.heights
    residuals = heights.astype(np.float64) - reference.heights
    valid = base & aligned.valid
    strata: dict[str, Bools] = {"all": np.ones(base.shape, np.bool_)}
    land = land_strata(masks)
    if "strata" in layers:
        strata |= land
    truth = Surface.of(reference.heights, reference.grid.gsd) if {"slope", "shape"} & set(layers) else None
    if truth is not None and "slope" in layers:
        strata |= slope_strata(slope_rad(*truth.gradient))
    found = _stratified(residuals, base, valid, strata)
    if truth is not None and "shape" in layers:
        found["shape"] = _shape(heights, reference, truth, valid, land)
    if bootstrap:
        intervals = block_bootstrap(residuals, valid, seed=seed)
        found["intervals"] = {
            "all": {k: None if i is None else asdict(i) for k, i in intervals.items()},
            "level": LEVEL,
        }
    found["notes"] = dict(CONVENTIONS)
    if truth is not None:
        found["notes"]["warnings"] = misalignment_warnings(
            residuals, truth.gradient, valid, (evaluated.grid, reference.grid), found["all"]["median"] or 0.0
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
    the reference's domain: a method that drops hard pixels lowers its error and shows it here.
    """
    refined = on_grid(refined, reference)
    if initial is None:
        alone = evaluate(refined, reference, masks, gt_mask=gt_mask, bootstrap=bootstrap, seed=seed)
        return {"input": None, "refined": alone, "own_domain": {"input": None, "refined": alone}, "gain": None}
    initial = on_grid(initial, reference)
    masks = {name: mask_on_grid(mask, reference) for name, mask in (masks or {}).items()}
    common = initial.valid & refined.valid
    pair = {"input": initial, "refined": refined}
    metrics: dict[str, Any] = {}
    own: dict[str, Any] = {}
    counted = _base_domain(reference, gt_mask, None)
    for name, dsm in pair.items():
        masked = DSM(np.where(common, dsm.heights, np.float32(np.nan)), dsm.grid)
        scores = evaluate(masked, reference, masks, gt_mask=gt_mask, bootstrap=bootstrap, seed=seed)
        metrics[name] = scores
        if (dsm.valid & counted & ~common).any():
            own[name] = evaluate(dsm, reference, masks, gt_mask=gt_mask, bootstrap=False, layers=("strata",))
        else:  # the same pixels
            strata = ("all", *land_strata(masks))
            own[name] = {key: copy.deepcopy(scores[key]) for key in (*strata, "notes")}
        for stratum, values in own[name].items():
            if isinstance(scores.get(stratum), dict) and "completeness_valid" in values:
                scores[stratum]["completeness_common"] = scores[stratum]["completeness_valid"]
                scores[stratum]["completeness_valid"] = values["completeness_valid"]
    metrics["own_domain"] = own
    metrics["gain"] = relative_gain(metrics["input"]["all"], metrics["refined"]["all"])
    errors = [dsm.heights.astype(np.float64) - reference.heights for dsm in pair.values()]
    valid = _base_domain(reference, gt_mask, common)
    metrics["refined"]["all"]["harm_rate"] = harm_rate(errors[0][valid], errors[1][valid])
    if bootstrap:
        difference = paired_difference(errors[0], errors[1], valid, seed=seed)
        metrics["mae_difference"] = None if difference is None else asdict(difference)
    return metrics


def _stratified(
    residuals: NDArray[np.float64], base: Bools, valid: Bools, strata: Mapping[str, Bools]
) -> dict[str, Any]:
    """Return the statistics of every stratum; the residuals are sorted once, each stratum is a part of them."""
    if len(strata) > MAX_STRATA:
        raise InputError(f"At most {MAX_STRATA} strata can be scored at once, the masks make {len(strata)}.")
    known = residuals[valid]
    order = np.argsort(known)
    ordered = known[order]
    kind = np.min_scalar_type((1 << len(strata)) - 1)  # one bit per stratum, gathered once
    planes = np.zeros(valid.shape, kind)
    for number, where in enumerate(strata.values()):
        planes |= where.astype(kind) << kind.type(number)
    bits = planes[valid][order]
    found: dict[str, Any] = {}
    for number, (name, where) in enumerate(strata.items()):
        part = ordered if name == "all" else ordered[bits & kind.type(1 << number) != 0]
        found[name] = ordered_statistics(part, int(np.count_nonzero(base & where)))
    return found


def check_metric(reference: DSM) -> None:
    """Refuse a geographic CRS: slopes and areas need metres."""
    if reference.grid.crs is not None and reference.grid.crs.is_geographic:
        name = reference.grid.crs.to_string()
        raise InputError(f"The reference is in {name}, degrees; reproject it to a CRS in metres, such as UTM.")


def on_grid(dsm: DSM, reference: DSM, kernel: str = KERNEL) -> DSM:
    """Return a DSM on the grid of the reference: itself where the grids agree, else resampled; see ``warp``."""
    return dsm if dsm.grid == reference.grid else warp_dsm(dsm, reference.grid, kernel)


def mask_on_grid(mask: Mask, reference: DSM) -> Mask:
    """Return a mask on the grid of the reference by nearest pixels; one without grid must have its shape.

    Raises
    ------
    InputError
        A mask without georeference and with another shape.
    """
    if mask.grid is None:
        if mask.values.shape != reference.grid.shape:
            raise InputError(f"Mask {mask.name} has no georeference and not the size of the reference.")
        return mask
    return mask if mask.grid == reference.grid else warp_mask(mask, reference.grid)


def _base_domain(reference: DSM, gt_mask: Mask | None, domain: Bools | None) -> Bools:
    base = reference.valid
    if gt_mask is not None:
        base = base & mask_on_grid(gt_mask, reference).is_class
    return base if domain is None else base & domain


def _shape(
    heights: NDArray[np.float32], reference: DSM, truth: Surface, valid: Bools, land: Mapping[str, Bools]
) -> dict[str, Any]:
    """Return slopes, normals, edges and roof planes; labels are the connected parts of the building mask."""
    gsd = reference.grid.gsd
    building, border = land.get("building_undilated"), land.get("building_border")
    found = shape_errors(Surface.of(heights, gsd), truth, valid, building, border)
    found |= step_edge_scores(heights, reference.heights, valid)
    if building is not None:
        found |= roof_planes(heights, ndimage.label(building)[0], valid, gsd)
    return found
