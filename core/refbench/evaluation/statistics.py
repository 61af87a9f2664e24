"""Statistics of residuals: e = evaluated - reference, metres, float64.

Percentiles interpolate linearly between order statistics (numpy's default).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

THRESHOLDS_M = (0.5, 1.0, 2.0, 3.0, 5.0)
HARM_M = 0.5
"""Heights that are nearer to the reference are good: losing one is harm."""
TRUNCATION_M = 5.0
NMAD_FACTOR = 1.4826
LE90_NORMAL_FACTOR = 1.6448536269514722
LE68_PERCENT = 68.27


def percentile(ordered: NDArray[np.float64], percent: float) -> float:
    """Return a percentile of ascending values [N].

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 50)
    2.5
    """
    place = percent / 100 * (ordered.size - 1)
    low = int(np.floor(place))
    left, right = float(ordered[low]), float(ordered[min(low + 1, ordered.size - 1)])
    return left + (right - left) * (place - low)


def distance_percentile(ordered: NDArray[np.float64], centre: float, percent: float) -> float:
    """Return a percentile of |v - centre| over ascending values v [N], by bisection: nothing is sorted again.

    >>> distance_percentile(np.array([-3.0, 0.0, 1.0]), 0.0, 50)
    1.0
    """
    place = percent / 100 * (ordered.size - 1)
    low = int(np.floor(place))
    left = _nearest(ordered, centre, low + 1)
    right = _nearest(ordered, centre, min(low + 2, ordered.size))
    return left + (right - left) * (place - low)


def _nearest(ordered: NDArray[np.float64], centre: float, count: int) -> float:
    """Return the ``count``-th smallest distance to ``centre``: the ``count`` nearest values are neighbours."""
    first, last = 0, ordered.size - count
    while first < last:
        middle = (first + last) // 2
        if centre - ordered[middle] > ordered[middle + count] - centre:
            first = middle + 1
        else:
            last = middle
    return max(abs(float(ordered[first]) - centre), abs(float(ordered[first + count - 1]) - centre))


def statistics(residuals: NDArray[np.float64], n_ref_valid: int | None = None) -> dict[str, Any]:
    """Return every statistic of one set of residuals.

    Parameters
    ----------
    residuals
        float64 [N], finite, metres, in any order.
    n_ref_valid
        Size of the reference domain, for completeness; None takes N.

    Returns
    -------
    dict
        Key to value; None for all but the counts where N is 0.
    """
    return ordered_statistics(np.sort(np.asarray(residuals, np.float64)), n_ref_valid)


def ordered_statistics(e: NDArray[np.float64], n_ref_valid: int | None = None) -> dict[str, Any]:
    """Return ``statistics`` of residuals that are ascending already."""
    total = e.size if n_ref_valid is None else int(n_ref_valid)
    counts: dict[str, Any] = {"n_ref_valid": total, "n": int(e.size)}
    counts["completeness_valid"] = e.size / total if total else None
    if e.size == 0:
        return {**counts, **dict.fromkeys(_keys())}
    found = _moments(e)
    median, mean = percentile(e, 50), found["bias"]
    medae = distance_percentile(e, 0.0, 50)
    le90 = distance_percentile(e, 0.0, 90)
    found |= {
        "median": median,
        "medae": medae,
        "nmad": nmad(e, median),
        "nmad_about_medae": nmad(e, medae),
        "min": float(e[0]),
        "max": float(e[-1]),
        "le68": distance_percentile(e, 0.0, LE68_PERCENT),
        "p68": distance_percentile(e, 0.0, 68),
        "z50": medae,
        "z90": le90,
        "le90": le90,
        "le95": distance_percentile(e, 0.0, 95),
        "le90_normal": LE90_NORMAL_FACTOR * found["rmse"],
        "p90_about_mean": distance_percentile(e, mean, 90),
        "range90": percentile(e, 95) - percentile(e, 5),
        "iqr": percentile(e, 75) - percentile(e, 25),
    }
    for t in THRESHOLDS_M:
        inside = int(np.searchsorted(e, t, "left") - np.searchsorted(e, -t, "right"))
        found[f"within_{t:g}m"] = max(inside, 0) / e.size
        found[f"complete_{t:g}m"] = max(inside, 0) / total if total else None
    return {**counts, **found, f"truncated_{TRUNCATION_M:g}m": _truncated(e)}


def _moments(e: NDArray[np.float64]) -> dict[str, Any]:
    mean = float(e.mean())
    centred = e - mean
    split = int(np.searchsorted(e, 0.0))
    return {
        "bias": mean,
        "mae": float(e[split:].sum() - e[:split].sum()) / e.size,
        "rmse": float(np.sqrt(np.dot(e, e) / e.size)),
        "std": float(np.sqrt(np.dot(centred, centred) / e.size)),
    }


def nmad(ordered: NDArray[np.float64], centre: float) -> float:
    """Return 1.4826 x median(|e - centre|) of ascending residuals; the centre is median(e) (Hoehle & Hoehle 2009).

    ResDepth and ImpliCity centre on median(|e|): that is ``nmad_about_medae``.
    """
    return NMAD_FACTOR * distance_percentile(ordered, centre, 50)


def _truncated(e: NDArray[np.float64]) -> dict[str, Any]:
    """Return the statistics of the residuals that ResDepth keeps: |e| <= T."""
    kept = e[np.searchsorted(e, -TRUNCATION_M, "left") : np.searchsorted(e, TRUNCATION_M, "right")]
    keys = ("mae", "rmse", "medae", "median", "nmad", "nmad_about_medae")
    if kept.size == 0:
        return {"n": 0, **dict.fromkeys(keys)}
    moments = _moments(kept)
    median, medae = percentile(kept, 50), distance_percentile(kept, 0.0, 50)
    values = (moments["mae"], moments["rmse"], medae, median, nmad(kept, median), nmad(kept, medae))
    return {"n": int(kept.size), **dict(zip(keys, values, strict=True))}


def _keys() -> Iterable[str]:
    yield from (
        "bias",
        "median",
        "mae",
        "rmse",
        "std",
        "medae",
        "nmad",
        "nmad_about_medae",
        "min",
        "max",
        "le68",
        "p68",
    )
    yield from ("z50", "z90", "le90", "le95", "le90_normal", "p90_about_mean", "range90", "iqr")
    for t in THRESHOLDS_M:
        yield from (f"within_{t:g}m", f"complete_{t:g}m")
    yield f"truncated_{TRUNCATION_M:g}m"


def relative_gain(initial: dict[str, Any], refined: dict[str, Any]) -> dict[str, float | None]:
    """Return 1 - refined / initial for the main errors; None where one is missing or the initial error is 0."""
    gains: dict[str, float | None] = {}
    for key in ("mae", "rmse", "medae", "nmad"):
        before, after = initial.get(key), refined.get(key)
        gains[key] = 1 - after / before if before and after is not None else None
    return gains


def harm_rate(
    initial: NDArray[np.floating[Any]], refined: NDArray[np.floating[Any]], limit_m: float = HARM_M
) -> float | None:
    """Return of the pixels within ``limit_m`` before the fraction beyond it after; None where there was none.

    ``initial`` and ``refined`` are residuals [N] of the same pixels, metres.
    """
    good = np.abs(initial) < limit_m
    count = int(np.count_nonzero(good))
    return int(np.count_nonzero(good & (np.abs(refined) >= limit_m))) / count if count else None
