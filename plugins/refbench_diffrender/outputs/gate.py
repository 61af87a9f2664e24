"""Whether a refinement is kept: only where evidence that it never used says that it is no worse than its input.

Evidence is an error before and after, the smaller the better: of sparse points that were held out (metres), of views
that were held out (colour or dissimilarity). Without any the refinement is kept, and the notes say that nothing tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_POINTS = 20
"""Fewer sparse points tell nothing: their mean moves by chance."""
OUTLIERS = 0.05
"""Fraction of the points that is taken for outliers."""
LEAST_PIXELS = 400
"""Fewer pixels of held-out views tell nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one independent source says: errors ``before`` and ``after`` over ``number`` points or pixels."""

    source: str
    before: float
    after: float
    number: int

    @property
    def agrees(self) -> bool:
        """Whether the refined surface is no worse."""
        return self.after <= self.before

    @property
    def facts(self) -> dict[str, Any]:
        """What the result's notes say of it."""
        return {"before": self.before, "after": self.after, "number": self.number}


def is_kept(evidence: Iterable[Evidence]) -> bool:
    """Return whether a refinement is kept: no evidence is worse than before, and some is better or there is none."""
    found = list(evidence)
    if not found:
        return True
    return all(one.agrees for one in found) and any(one.after < one.before for one in found)


def gate_notes(evidence: Iterable[Evidence]) -> dict[str, Any]:
    """Return what a result says of a gate: ``kept``, and the evidence by its source or why there is none."""
    found = list(evidence)
    notes: dict[str, Any] = {"kept": is_kept(found)} | {one.source: one.facts for one in found}
    if not found:
        notes["unknown"] = "no held-out view or sparse point tells: name held_out_views or give sparse points"
    return notes


def median_errors(before: Floats, after: Floats) -> dict[str, Any]:
    """Return what two surfaces miss the same points by.

    Parameters
    ----------
    before, after
        Absolute differences [N] to the points, metres; NaN where a surface is unknown.

    Returns
    -------
    ``points``, how many lie on both surfaces, and, where there are any, ``before`` and ``after`` with ``median`` and
    ``mean`` in metres.
    """
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        return {"points": 0}
    first, second = ({"median": float(np.median(e[both])), "mean": float(np.mean(e[both]))} for e in (before, after))
    return {"points": int(both.sum()), "before": first, "after": second}


def point_evidence(before: Floats, after: Floats) -> list[Evidence]:
    """Return the evidence of absolute differences [N] to sparse points, metres; NaN where a surface is unknown.

    It is the mean over the points on both surfaces, but for the twentieth that lies farthest from either: outliers,
    and points of wires or walls. A median would not see what changes at roofs and trees, most points being flat ground.
    """
    both = np.isfinite(before) & np.isfinite(after)
    if both.sum() < LEAST_POINTS:
        return []
    nearer = np.minimum(before[both], after[both])
    near = nearer <= np.quantile(nearer, 1 - OUTLIERS)
    means = [float(errors[both][near].mean()) for errors in (before, after)]
    return [Evidence("points_m", means[0], means[1], int(near.sum()))]


def view_evidence(held: Mapping[str, Mapping[str, Any]], measure: str, *, best: float) -> list[Evidence]:
    """Return the evidence of held-out views together, weighted by their pixels.

    Parameters
    ----------
    held
        By view: ``pixels`` and, where there are any, ``before`` and ``after`` with the ``measure``.
    measure
        Name of what is compared.
    best
        The value of a perfect view; the error is the distance to it.
    """
    seen = [facts for facts in held.values() if facts["pixels"]]
    pixels = np.array([facts["pixels"] for facts in seen], np.float64)
    if pixels.sum() < LEAST_PIXELS:
        return []
    before, after = (
        float(np.average([abs(best - facts[when][measure]) for facts in seen], weights=pixels))
        for when in ("before", "after")
    )
    return [Evidence(f"views_{measure}", before, after, int(pixels.sum()))]
