"""Statistics of residuals: e = evaluated - reference, metres, float64. Keys and formulas are in ``metric_table``.

Percentiles interpolate linearly between order statistics (numpy's default).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

THRESHOLDS_M = (0.5, 1.0, 2.0, 3.0, 5.0)
TRUNCATION_M = 5.0
NMAD_FACTOR = 1.4826
LE90_NORMAL_FACTOR = 1.6448536269514722
LE68_PERCENT = 68.27


def percentiles(values: NDArray[np.float64], percents: Sequence[float]) -> list[float]:
    """Return several percentiles by one partial selection; ``values`` [N] is reordered in place.

    >>> percentiles(np.array([4.0, 1.0, 3.0, 2.0]), [50, 100])
    [2.5, 4.0]
    """
    last = values.size - 1
    places = [percent / 100 * last for percent in percents]
    low = [int(np.floor(place)) for place in places]
    needed = sorted({min(index, last) for base in low for index in (base, base + 1)})
    values.partition(needed)
    found = []
    for place, base in zip(places, low, strict=True):
        left, right = float(values[base]), float(values[min(base + 1, last)])
        found.append(left + (right - left) * (place - base))
    return found


def statistics(residuals: NDArray[np.float64], n_ref_valid: int | None = None) -> dict[str, float | int | None]:
    """Return every statistic of one set of residuals.

    Parameters
    ----------
    residuals
        float64 [N], finite, metres.
    n_ref_valid
        Size of the reference domain, for completeness; None takes N.

    Returns
    -------
    dict
        Key to value; None for all but the counts where N is 0.
    """
    total = residuals.size if n_ref_valid is None else int(n_ref_valid)
    counts: dict[str, float | int | None] = {"n_ref_valid": total, "n": int(residuals.size)}
    counts["completeness_valid"] = residuals.size / total if total else None
    if residuals.size == 0:
        return {**counts, **dict.fromkeys(_keys())}
    e = np.array(residuals, np.float64)
    mean = float(e.mean())
    std = float(np.sqrt(np.mean((e - mean) ** 2)))
    rmse = float(np.sqrt(np.mean(e * e)))
    absolute = np.abs(e)
    p5, p25, median, p75, p95 = percentiles(e, (5, 25, 50, 75, 95))
    shares = {t: int(np.count_nonzero(absolute < t)) for t in THRESHOLDS_M}
    mae = float(absolute.mean())
    deviation = np.abs(e - mean)
    kept = e[np.abs(e) <= TRUNCATION_M]
    medae, z68, le68, le90, le95 = percentiles(absolute, (50, 68, LE68_PERCENT, 90, 95))
    found: dict[str, float | int | None] = {
        "bias": mean,
        "median": median,
        "mae": mae,
        "rmse": rmse,
        "std": std,
        "medae": medae,
        "nmad": nmad(e, median),
        "nmad_about_medae": nmad(e, medae),
        "min": float(e.min()),
        "max": float(e.max()),
        "le68": le68,
        "p68": z68,
        "z50": medae,
        "z90": le90,
        "le90": le90,
        "le95": le95,
        "le90_normal": LE90_NORMAL_FACTOR * rmse,
        "p90_about_mean": percentiles(deviation, (90,))[0],
        "range90": p95 - p5,
        "iqr": p75 - p25,
    }
    for t, count in shares.items():
        found[f"within_{t:g}m"] = count / e.size
        found[f"complete_{t:g}m"] = count / total if total else None
    return {**counts, **found, f"truncated_{TRUNCATION_M:g}m": _truncated(kept)}  # type: ignore[dict-item]


def nmad(residuals: NDArray[np.float64], centre: float) -> float:
    """Return 1.4826 x median(|e - centre|); the centre is median(e) (Hoehle & Hoehle 2009).

    ResDepth and ImpliCity centre on median(|e|): that is ``nmad_about_medae``.
    """
    return NMAD_FACTOR * percentiles(np.abs(residuals - centre), (50,))[0]


def _truncated(kept: NDArray[np.float64]) -> dict[str, float | int | None]:
    """Return the statistics of the residuals that ResDepth keeps: |e| <= T."""
    keys = ("mae", "rmse", "medae", "median", "nmad", "nmad_about_medae")
    if kept.size == 0:
        return {"n": 0, **dict.fromkeys(keys)}
    absolute = np.abs(kept)
    mae, rmse = float(absolute.mean()), float(np.sqrt(np.mean(kept * kept)))
    median, medae = percentiles(kept, (50,))[0], percentiles(absolute, (50,))[0]
    values = (mae, rmse, medae, median, nmad(kept, median), nmad(kept, medae))
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


def relative_gain(
    initial: dict[str, float | int | None], refined: dict[str, float | int | None]
) -> dict[str, float | None]:
    """Return 1 - refined / initial for the main errors; None where one is missing or the initial error is 0."""
    gains: dict[str, float | None] = {}
    for key in ("mae", "rmse", "medae", "nmad"):
        before, after = initial.get(key), refined.get(key)
        gains[key] = 1 - after / before if before and after is not None else None
    return gains
