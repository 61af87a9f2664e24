"""Means over the scenes of a sweep: only of methods that have a result on every scene, never over unequal sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.method import derived_rng
from refbench.engine.sweeps.common_domain import read_samples
from refbench.evaluation.metrics import RANKED
from refbench.evaluation.ranking import difference
from refbench.evaluation.uncertainty import interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DOMAIN = "common"


@dataclass(frozen=True, slots=True)
class SceneMeans:
    """Means over ``scenes``; the label of the initial DSM is None.

    ``rows`` is label -> metric -> ``value`` with ``low`` and ``high`` (None where there is no interval);
    ``differences`` is metric -> paired differences as ``compare`` gives them; ``lacking`` is label -> scenes on which
    the method has no comparable result, so that it has no mean.
    """

    scenes: tuple[str, ...]
    rows: dict[str | None, dict[str, dict[str, Any]]] = field(default_factory=dict)
    differences: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lacking: dict[str, tuple[str, ...]] = field(default_factory=dict)


def scene_means(
    out: Path, comparisons: Mapping[str, Mapping[str, Any]], stratum: str, keys: Sequence[str]
) -> SceneMeans:
    """Return the means of metrics on the common domains, every scene counted alike.

    Parameters
    ----------
    out
        The folder of the sweep.
    comparisons
        Of ``compare_sweep``.
    stratum, keys
        What to take the mean of.

    The blocks of every scene are drawn anew in each bootstrap sample: the intervals are for these scenes, not for
    scenes in general.
    """
    scored = {scene: found for scene, found in comparisons.items() if found["reason"] is None}
    rows = {scene: _rows(found, stratum) for scene, found in scored.items()}
    labels = dict.fromkeys(label for found in scored.values() for label in (None, *found["methods"]))
    lacking = {label: tuple(scene for scene in scored if label not in rows[scene]) for label in labels}
    complete = [label for label, missing in lacking.items() if not missing]
    means = SceneMeans(
        tuple(scored), lacking={label: gone for label, gone in lacking.items() if gone and label is not None}
    )
    means.rows.update({label: {} for label in complete})
    for key in keys if scored else ():
        drawn = {scene: _shuffled(scene, read_samples(out, scene, stratum, DOMAIN, key)) for scene in scored}
        blocks = sum(found["blocks"] for found in scored.values())
        samples = {label: _mean_samples([drawn[scene].get(label) for scene in scored]) for label in complete}
        for label in complete:
            values = [rows[scene][label].get(key) for scene in scored]
            means.rows[label][key] = _mean(values, samples[label], blocks)
        means.differences[key] = _differences(key, means.rows, samples, blocks)
    return means


def _rows(found: Mapping[str, Any], stratum: str) -> dict[str | None, dict[str, Any]]:
    """Return label -> metrics of a scene's methods that are on its common domain."""
    every = {None: found["input"], **found["methods"]}
    return {label: row["common"][stratum] for label, row in every.items() if row and stratum in row["common"]}


def _shuffled(scene: str, samples: Mapping[str | None, Floats]) -> dict[str | None, Floats]:
    """Return the samples of all methods in one other order.

    Scenes of one size have the same draws of blocks; in an order of its own each is independent of the others, and the
    methods of a scene stay paired.
    """
    rng = derived_rng(0, "scene means", scene)
    order = rng.permutation(max((drawn.size for drawn in samples.values()), default=0))
    return {label: drawn[order] for label, drawn in samples.items()}


def _mean_samples(samples: Sequence[Floats | None]) -> Floats | None:
    given = [drawn for drawn in samples if drawn is not None]
    return np.asarray(np.mean(given, axis=0), np.float64) if given and len(given) == len(samples) else None


def _mean(values: Sequence[float | None], samples: Floats | None, blocks: int) -> dict[str, Any]:
    given = [value for value in values if value is not None]
    value = float(np.mean(given)) if given and len(given) == len(values) else None
    bounds = None if samples is None or value is None else interval(samples, blocks)
    return {"value": value, "low": bounds and bounds.low, "high": bounds and bounds.high}


def _differences(
    key: str,
    rows: Mapping[str | None, Mapping[str, Mapping[str, Any]]],
    samples: Mapping[str | None, Floats | None],
    blocks: int,
) -> list[dict[str, Any]]:
    found = []
    for first, second in combinations(rows, 2) if key in RANKED else ():
        values = rows[first][key]["value"], rows[second][key]["value"]
        if None not in values:
            tested = difference(key, values, (samples[first], samples[second]), blocks)
            found.append({"first": first, "second": second, **tested})
    return found
