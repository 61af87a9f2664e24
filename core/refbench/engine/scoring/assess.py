"""Assessors: additional quality checks on a DSM that plugins offer and users ask for. One that fails is a warning."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import RefbenchError
from refbench.contracts.raster import DSM
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refbench.contracts.raster import Mask

KEY = "assessors"
"""Where the scores stand beside the strata of a DSM."""
Scores = dict[str, dict[str, float | None]]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What a job ends with, each on its own grid."""

    initial: DSM | None
    refined: DSM
    reference: DSM | None = None
    masks: Mapping[str, Mask] = field(default_factory=dict)


def check_assessors(names: Sequence[str]) -> None:
    """Raise ``UnknownNameError`` where no plugin offers an assessor of one of the names."""
    for name in names:
        load_registry().assessors.get(name)


def assess(
    evaluated: DSM, reference: DSM | None, masks: Mapping[str, Mask], names: Sequence[str], options: Mapping[str, Any]
) -> tuple[Scores, list[str]]:
    """Return name -> key -> score (None where there is none), and a warning for each assessor that failed.

    Parameters
    ----------
    evaluated
        The DSM to look at; on another grid than the reference it is resampled to that one.
    reference
        The reference, None where there is none.
    masks
        By name, on any grids of the same CRS.
    names
        The assessors.
    options
        ``KEY`` is for all of them, ``NAME.KEY`` for one.

    Raises
    ------
    UnknownNameError
        No plugin offers such an assessor.
    """
    from refbench.evaluation.grids import mask_on_grid, on_grid  # brings scipy

    aligned = evaluated if reference is None else on_grid(evaluated, reference)
    found: Scores = {}
    warnings: list[str] = []
    for name in names:
        target = load_registry().assessors.get(name).target
        try:
            held = {label: mask_on_grid(mask, aligned) for label, mask in masks.items()}
            scores = resolve(target)(aligned, reference, held, options_of(name, names, options))
            found[name] = {str(key): _number(value) for key, value in scores.items()}
        except RefbenchError as error:
            warnings.append(f"Assessor {name}: {error}")
        except Exception as error:
            warnings.append(f"Assessor {name} failed: {error!r}.")
    return found, warnings


def assess_pair(
    surfaces: Surfaces, names: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, Scores | None], list[str]]:
    """Return ``input`` (None without an initial DSM) and ``refined`` as ``assess`` does, on their common pixels."""
    from refbench.evaluation.grids import on_grid  # brings scipy

    anchor = surfaces.reference or surfaces.refined
    pair = {"input": surfaces.initial, "refined": surfaces.refined}
    aligned = {name: on_grid(dsm, anchor) for name, dsm in pair.items() if dsm is not None}
    common = np.logical_and.reduce([dsm.valid for dsm in aligned.values()])
    found: dict[str, Scores | None] = {"input": None}
    warnings: dict[str, None] = {}
    for name, dsm in aligned.items():
        masked = DSM(np.where(common, dsm.heights, np.float32(np.nan)), dsm.grid)
        found[name], texts = assess(masked, surfaces.reference, surfaces.masks, names, options)
        warnings |= dict.fromkeys(texts)  # what fails on both is said once
    return found, list(warnings)


def with_assessors(metrics: dict[str, Any] | None, found: Mapping[str, Scores | None]) -> dict[str, Any] | None:
    """Return the metrics with the assessors' scores beside the strata; None where there is nothing at all."""
    if not any(found.values()):
        return metrics
    if metrics is None:
        empty: dict[str, Any] = {name: None if scores is None else {} for name, scores in found.items()}
        metrics = {**empty, "own_domain": dict(empty), "gain": None}
    return metrics | {
        name: metrics[name] if scores is None else {**(metrics[name] or {}), KEY: scores}
        for name, scores in found.items()
    }


def options_of(name: str, names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of one assessor: those for it alone win over those for all."""
    others = tuple(f"{other}." for other in names)
    shared = {key: value for key, value in options.items() if not key.startswith(others)}
    own = {key.removeprefix(f"{name}."): value for key, value in options.items() if key.startswith(f"{name}.")}
    return shared | own


def _number(value: Any) -> float | None:  # noqa: ANN401  # what a plugin returned
    number = float(value)
    return number if math.isfinite(number) else None
