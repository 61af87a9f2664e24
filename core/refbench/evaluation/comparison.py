"""Several refined DSMs of one scene on common ground: metrics, intervals, paired differences and ranks with ties."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.raster import DSM
from refbench.evaluation.block_draws import BLOCK_PX, REPEATS, block_ids
from refbench.evaluation.conventions import COMPLETENESS
from refbench.evaluation.evaluate import scored
from refbench.evaluation.grids import on_grid
from refbench.evaluation.ground import Ground
from refbench.evaluation.metrics import RANKED
from refbench.evaluation.metrics.residual import COMMON
from refbench.evaluation.ranking import difference, ranks
from refbench.evaluation.uncertainty import BOOTSTRAPPED, EVERYWHERE, LEVEL, bootstrap_samples, interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from refbench.contracts.raster import Mask

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Samples = dict[str, dict[str, Floats]]

BLOCK_KEYS = ("n", "sum_e", "sum_abs_e", "sum_e2")
DOMAINS = ("common", "own")
INPUT = None
"""Stands for the initial DSM among the labels of methods, so that no method's name can be taken for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What ``compare`` found: JSON-ready ``values``; the arrays beside it.

    ``samples`` is (label, domain) -> stratum -> metric -> bootstrap samples [repeats]; ``blocks`` is
    (label, run, domain) -> float64 [4, blocks of the raster] in the order of ``BLOCK_KEYS``; the label of the initial
    DSM is ``INPUT``.
    """

    values: dict[str, Any]
    samples: dict[tuple[str | None, str], Samples]
    blocks: dict[tuple[str | None, int, str], Floats]


def compare(
    reference: DSM,
    methods: Mapping[str, Sequence[Callable[[], DSM]]],
    *,
    initial: DSM | None = None,
    baseline: DSM | None = None,
    masks: Mapping[str, Mask] | None = None,
    gt_mask: Mask | None = None,
    seed: int = 0,
    block_px: int = BLOCK_PX,
    repeats: int = REPEATS,
) -> Comparison:
    """Compare methods on one scene.

    Parameters
    ----------
    reference
        The reference DSM, metres.
    methods
        Label -> one loader of a DSM per seed, called twice: only one DSM is in memory at a time. A DSM on another
        grid is resampled to the reference's.
    initial
        The initial DSM, compared as well.
    baseline
        What the metrics of pairs hold a method against; None: the initial DSM.
    masks, gt_mask
        As ``evaluate`` takes them.
    seed, block_px, repeats
        Of the bootstrap; see ``BlockDraws.over``.

    The common domain holds the pixels that are valid in the reference, the initial DSM and every run of every method.
    A method with a run that has no valid pixel at all is left out of it, and of the ranks, and said so. The value of
    a method with several seeds is the mean over them, ``spread`` their standard deviation (N - 1). Two methods tie
    where the interval of their paired difference holds 0; the rank of a method is one more than the number of methods
    that are better beyond noise. Nothing is corrected for the number of comparisons.

    Raises
    ------
    InputError
        As ``evaluate`` does; a method without a run.
    """
    if empty := [label for label, runs in methods.items() if not runs]:
        raise InputError(f"Method {empty[0]} has no DSM to compare.")
    ground = Ground(reference, masks, gt_mask, seed=seed, block_px=block_px, repeats=repeats)
    runs: dict[str | None, Sequence[Callable[[], DSM]]] = {}
    if initial is not None:
        aligned = on_grid(initial, reference)
        runs[INPUT] = [lambda: aligned]
    runs.update(methods.items())
    common, left_out = _common_domain(ground, runs)
    rows: dict[str | None, dict[str, Any]] = {}
    found = Comparison({}, {}, {})
    held = initial if baseline is None else baseline
    before = None if held is None else ground.residuals(on_grid(held, reference))
    for label, loaders in runs.items():
        against = None if label is INPUT else before
        rows[label] = _measure(ground, label, loaders, None if label in left_out else common, against, found)
    compared = {label: row for label, row in rows.items() if label not in left_out}
    differences = _differences(ground, compared, found.samples)
    draws = ground.draws("common", "all", common)
    found.values.update(
        grid={"rows": common.shape[0], "cols": common.shape[1], "gsd": reference.grid.gsd},
        n_ref_valid=int(np.count_nonzero(ground.base)),
        n_common=int(np.count_nonzero(common)),
        blocks=0 if draws is None else draws.blocks,
        block_px=block_px,
        block_shape=ground.block_sides,
        repeats=repeats,
        level=LEVEL,
        left_out=left_out,
        input=rows.pop(INPUT, None),
        methods=rows,
        differences=differences,
        ranks=ranks(differences, [label for label in compared if label is not INPUT]),
    )
    return found


def _common_domain(
    ground: Ground, runs: Mapping[str | None, Sequence[Callable[[], DSM]]]
) -> tuple[Bools, dict[str | None, str]]:
    """Return where the reference and every DSM are valid, and why labels were left out."""
    common, left_out = ground.base.copy(), {}
    for label, loaders in runs.items():
        own = ground.base.copy()
        for number, load in enumerate(loaders, start=1):
            valid = ground.base & on_grid(load(), ground.reference).valid
            if not valid.any():
                run = f"Run {number} of {len(loaders)}" if len(loaders) > 1 else "It"
                left_out[label] = f"{run} has no valid pixel where the reference counts."
            own &= valid
        if label not in left_out:
            common &= own
    return common, left_out


def _measure(
    ground: Ground,
    label: str | None,
    loaders: Sequence[Callable[[], DSM]],
    common: Bools | None,
    before: Floats | None,
    found: Comparison,
) -> dict[str, Any]:
    """Return the row of a method, averaged over its runs; samples and blocks go to ``found``.

    ``before`` are the residuals [rows, cols] of what was refined, None where there is nothing to hold it against.
    """
    metrics: dict[str, list[dict[str, Any]]] = {name: [] for name in DOMAINS}
    samples: dict[str, list[Samples]] = {name: [] for name in DOMAINS}
    counted: dict[str, dict[str, int]] = {name: {} for name in DOMAINS}
    for number, load in enumerate(loaders):
        dsm = on_grid(load(), ground.reference)
        own = ground.base & dsm.valid
        for name, domain in {"common": common, "own": own}.items():
            if domain is None:
                continue
            residuals = ground.residuals(dsm)
            metrics[name].append(_metrics(ground, dsm, domain, before, shape=name == "common"))
            drawn, counted[name] = _samples(ground, (before, residuals), own, domain, name)
            samples[name].append(drawn)
            found.blocks[label, number, name] = _block_sums(residuals, domain, ground.block_sides)
        if metrics["common"]:
            for stratum, values in metrics["common"][-1].items():
                if COMPLETENESS in values:
                    values[COMMON.key] = values[COMPLETENESS]
                    values[COMPLETENESS] = metrics["own"][-1][stratum][COMPLETENESS]
    row: dict[str, Any] = {"runs": len(loaders)}
    for name in DOMAINS:
        means = _mean_samples(samples[name])
        found.samples[label, name] = means
        row[name] = _average(metrics[name])
        row[name]["spread"] = _spread(metrics[name])
        row[name]["intervals"] = {
            stratum: {key: asdict(interval(drawn, counted[name][stratum])) for key, drawn in of.items()}
            for stratum, of in means.items()
        }
    return row


def _metrics(ground: Ground, dsm: DSM, domain: Bools, before: Floats | None, *, shape: bool) -> dict[str, Any]:
    """Return stratum -> metrics, and ``shape``, on a domain."""
    masked = DSM(np.where(domain, dsm.heights, np.float32(np.nan)), dsm.grid)
    layers = ("strata", "slope", "shape") if shape else ("strata", "slope")
    scores = scored(ground, masked, None, layers)
    if before is not None:
        for stratum, values in ground.pair(before, ground.residuals(masked), domain, layers).items():
            scores[stratum] |= values
    return {name: _numbers(values) for name, values in scores.items() if name != "notes"}


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and missing values of a mapping; tables of single labels and the like stay behind."""
    return {key: value for key, value in values.items() if value is None or isinstance(value, (int, float))}


def _samples(
    ground: Ground, errors: tuple[Floats | None, Floats], own: Bools, domain: Bools, name: str
) -> tuple[Samples, dict[str, int]]:
    """Return stratum -> metric -> samples, and the number of blocks per stratum; too small strata are missing.

    ``errors`` are the residuals [rows, cols] of what was refined (None: unknown) and of the method.
    """
    found: Samples = {}
    blocks: dict[str, int] = {}
    before, residuals = errors
    for stratum in _strata(ground):
        # Each method's own domain is its own: its draws are not kept.
        draws = ground.new_draws(stratum, domain) if name == "own" else ground.draws(name, stratum, domain)
        if draws is None:
            continue
        found[stratum] = bootstrap_samples(residuals, draws, BOOTSTRAPPED if stratum == "all" else EVERYWHERE)
        if before is not None:
            found[stratum] |= ground.pair_samples(before, residuals, draws)
        blocks[stratum] = draws.blocks
        counts = ground.draws("base", stratum, ground.base)
        if counts is not None:
            held = own.ravel()[counts.inside].astype(np.float64)
            found[stratum][COMPLETENESS] = counts.sums(held) / counts.sums()
    return found, blocks


def _strata(ground: Ground) -> tuple[str, ...]:
    """Return the strata whose differences are tested: all pixels and land cover."""
    return ("all", *ground.land)


def _mean_samples(runs: Sequence[Samples]) -> Samples:
    """Return the mean over runs of their samples, for the strata and metrics that all runs have."""
    if not runs:
        return {}
    strata = [stratum for stratum in runs[0] if all(stratum in run for run in runs)]
    return {
        stratum: {key: np.mean([run[stratum][key] for run in runs], axis=0) for key in runs[0][stratum]}
        for stratum in strata
    }


def _average(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean over runs of stratum -> key -> value; None where a run has none."""
    return _over_runs(runs, lambda values: values[0] if len(set(values)) == 1 else float(np.mean(values)))


def _spread(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the standard deviation over runs (N - 1); empty for a single run."""
    if len(runs) < 2:
        return {}
    return _over_runs(runs, lambda values: 0.0 if len(set(values)) == 1 else float(np.std(values, ddof=1)))


def _over_runs(runs: Sequence[dict[str, Any]], fold: Callable[[list[float]], float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stratum, keys in (runs[0] if runs else {}).items():
        values = {key: [run[stratum][key] for run in runs] for key in keys}
        found[stratum] = {key: None if None in each else fold(each) for key, each in values.items()}
    return found


def _block_sums(residuals: Floats, domain: Bools, sides: tuple[int, int]) -> Floats:
    """Return n, sum e, sum |e| and sum e^2 of every block of the raster, float64 [4, blocks]."""
    ids = block_ids((domain.shape[0], domain.shape[1]), sides)
    total, index, e = int(ids[-1, -1]) + 1, ids[domain], residuals[domain]
    weights: Iterable[Floats | None] = (None, e, np.abs(e), e * e)
    return np.stack([np.bincount(index, weight, total).astype(np.float64) for weight in weights])


def _differences(
    ground: Ground, rows: Mapping[str | None, dict[str, Any]], samples: Mapping[tuple[str | None, str], Samples]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return stratum -> metric -> the paired differences of every two labels on the common domain."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for stratum in _strata(ground):
        found[stratum] = {key: [] for key in RANKED}
        for key, (first, second) in ((key, pair) for key in RANKED for pair in combinations(rows, 2)):
            values = [rows[label]["common"].get(stratum, {}).get(key) for label in (first, second)]
            if None in values:
                continue
            drawn = [samples[label, "common"].get(stratum, {}).get(key) for label in (first, second)]
            blocks = ground.blocks("base" if key == COMPLETENESS else "common", stratum)
            tested = difference(key, (values[0], values[1]), (drawn[0], drawn[1]), blocks)
            found[stratum][key].append({"first": first, "second": second, **tested})
    return found
