"""Paired differences between methods, and ranks that tie where a difference may be chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.evaluation.metrics import METRICS
from refbench.evaluation.uncertainty import interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_BLOCKS = 6
"""Below it no difference counts as more than chance: 5 blocks all agree by chance in 6 % of cases."""


def difference(
    key: str, values: tuple[float, float], samples: tuple[Floats | None, Floats | None], blocks: int
) -> dict[str, Any]:
    """Return ``value`` = second - first with the paired interval ``low``, ``high`` and which one is ``better``.

    ``better`` is ``first`` or ``second``; None where the interval holds 0 or where there are fewer than
    ``MIN_BLOCKS`` blocks.
    """
    found: dict[str, Any] = {
        "value": values[1] - values[0],
        "low": None,
        "high": None,
        "blocks": blocks,
        "better": None,
    }
    if samples[0] is None or samples[1] is None:
        return found
    bounds = interval(samples[1] - samples[0], blocks)
    found |= {"low": bounds.low, "high": bounds.high}
    if blocks >= MIN_BLOCKS and (bounds.low > 0 or bounds.high < 0):
        is_second = (bounds.high < 0) == (METRICS[key].direction == "lower")
        found["better"] = "second" if is_second else "first"
    return found


def ranks(
    differences: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], labels: Sequence[str]
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return stratum -> metric -> label -> ``rank`` and ``tied_with``.

    A rank is one more than the number of methods that are better beyond noise. Ties are not transitive: a method can
    tie with two that differ from each other.
    """
    return {
        stratum: {key: rank(entries, labels) for key, entries in of.items() if entries or len(labels) == 1}
        for stratum, of in differences.items()
    }


def rank(differences: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return label -> ``rank`` and ``tied_with`` from the paired differences of one metric."""
    found: dict[str, dict[str, Any]] = {label: {"rank": 1, "tied_with": []} for label in labels}
    for entry in differences:
        first, second = entry["first"], entry["second"]
        if first not in found or second not in found:
            continue
        if entry["better"] is None:
            found[first]["tied_with"].append(second)
            found[second]["tied_with"].append(first)
        else:
            found[second if entry["better"] == "first" else first]["rank"] += 1
    return found
