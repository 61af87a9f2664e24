"""Metrics of the residuals of one DSM: e = evaluated - reference, a = |e|, in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.evaluation.metrics.record import Metric, SampledMetric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench.evaluation.states import DrawnResiduals, ResidualState

    ResidualMetric = SampledMetric[ResidualState, DrawnResiduals]

THRESHOLDS_M = (0.5, 1.0, 2.0, 3.0, 5.0)
LE90_NORMAL_FACTOR = 1.6448536269514722
"""Phi^-1(0.95): half the width that holds 90 % of a normal distribution, in standard deviations."""
LE68_PERCENT = 68.27


def _counts() -> Iterator[ResidualMetric]:
    yield SampledMetric(
        key="completeness_valid",
        label="completeness",
        short="complete",
        unit="fraction",
        direction="higher",
        formula="fraction of the reference's pixels on which the DSM has a height",
        compute=lambda r: r.n / r.n_ref_valid if r.n_ref_valid else None,
        is_ranked=True,
        shown=("table", "page", "summary", "compared", "verb", "narrow"),
    )


def _errors() -> Iterator[ResidualMetric]:
    yield SampledMetric(
        key="mae",
        label="MAE",
        unit="m",
        direction="lower",
        formula="mean a",
        compute=lambda r: r.mean_size,
        resample=lambda s: s.mean_size,
        intervals="every",
        is_ranked=True,
        has_gain=True,
        shown=("table", "page", "strata", "summary", "compared", "verb", "narrow"),
    )
    yield SampledMetric(
        key="rmse",
        label="RMSE",
        unit="m",
        direction="lower",
        formula="square root of the mean of e²",
        compute=lambda r: r.root_mean_square,
        resample=lambda s: s.root_mean_square,
        intervals="every",
        is_ranked=True,
        has_gain=True,
        shown=("table", "page", "summary", "compared", "verb", "narrow"),
    )
    yield SampledMetric(
        key="medae",
        label="median |e|",
        unit="m",
        direction="lower",
        formula="median a",
        compute=lambda r: r.size(50),
        resample=lambda s: s.median_size,
        intervals="all",
        has_gain=True,
        shown=("page", "summary", "verb"),
    )
    yield SampledMetric(
        key="nmad",
        label="NMAD",
        unit="m",
        direction="lower",
        formula="1.4826 median|e - median e|",
        compute=lambda r: r.spread(r.percentile(50)),
        resample=lambda s: s.spread,
        intervals="every",
        is_ranked=True,
        has_gain=True,
        shown=("table", "page", "strata", "summary", "verb", "narrow"),
    )
    yield SampledMetric(
        key="le90",
        label="LE90",
        unit="m",
        direction="lower",
        formula="90th percentile of a",
        compute=lambda r: r.size(90),
        shown=("page", "summary", "verb", "narrow"),
    )
    yield SampledMetric(
        key="bias",
        label="bias",
        unit="m",
        direction="zero",
        formula="mean e",
        compute=lambda r: r.mean,
        resample=lambda s: s.mean,
        intervals="every",
        shown=("table", "page", "summary", "verb", "narrow"),
    )
    yield SampledMetric(
        key="median",
        label="median",
        unit="m",
        direction="zero",
        formula="median e",
        compute=lambda r: r.percentile(50),
        resample=lambda s: s.median,
        intervals="all",
        shown=("verb",),
    )


def _spreads() -> Iterator[ResidualMetric]:
    yield SampledMetric(
        key="std",
        label="standard deviation",
        short="std",
        unit="m",
        direction="lower",
        formula="square root of the mean of (e - mean e)²",
        compute=lambda r: r.deviation,
    )
    yield SampledMetric(
        key="nmad_about_medae",
        label="NMAD about median |e|",
        unit="m",
        direction="lower",
        formula="1.4826 median|e - median a|: what two published evaluations print as NMAD",
        compute=lambda r: r.spread(r.size(50)),
    )
    yield SampledMetric(
        key="min", label="minimum", unit="m", direction="none", formula="smallest e", compute=lambda r: r.smallest
    )
    yield SampledMetric(
        key="max", label="maximum", unit="m", direction="none", formula="largest e", compute=lambda r: r.largest
    )
    yield _percentile("le68", "LE68", LE68_PERCENT)
    yield _percentile("p68", "P68 of |e|", 68)
    yield _percentile("z50", "Z50", 50)
    yield _percentile("z90", "Z90", 90)
    yield _percentile("le95", "LE95", 95)
    yield SampledMetric(
        key="le90_normal",
        label="LE90 (normal)",
        unit="m",
        direction="lower",
        formula="1.6449 RMSE: the 90th percentile of a where e is normal with mean 0",
        compute=lambda r: LE90_NORMAL_FACTOR * r.root_mean_square,
    )
    yield SampledMetric(
        key="p90_about_mean",
        label="P90 about the mean",
        unit="m",
        direction="lower",
        formula="90th percentile of |e - mean e|",
        compute=lambda r: r.size(90, r.mean),
    )
    yield SampledMetric(
        key="range90",
        label="P95 - P5",
        unit="m",
        direction="lower",
        formula="95th minus 5th percentile of e, a full width",
        compute=lambda r: r.percentile(95) - r.percentile(5),
    )
    yield SampledMetric(
        key="iqr",
        label="IQR",
        unit="m",
        direction="lower",
        formula="75th minus 25th percentile of e",
        compute=lambda r: r.percentile(75) - r.percentile(25),
    )


def _percentile(key: str, label: str, percent: float) -> ResidualMetric:
    return SampledMetric(
        key=key,
        label=label,
        unit="m",
        direction="lower",
        formula=f"{percent:g}th percentile of a",
        compute=lambda r: r.size(percent),
    )


def _within(limit: float) -> ResidualMetric:
    return SampledMetric(
        key=f"within_{limit:g}m",
        label=f"within {limit:g} m",
        short=f"< {limit:g} m",
        unit="fraction",
        direction="higher",
        formula=f"fraction of the compared pixels with a < {limit:g} m",
        compute=lambda r: r.number_within(limit) / r.n,
        shown=("verb",) if limit == 1 else (),
    )


def _complete(limit: float) -> ResidualMetric:
    return SampledMetric(
        key=f"complete_{limit:g}m",
        label=f"complete within {limit:g} m",
        unit="fraction",
        direction="higher",
        formula=f"fraction of the reference's pixels with a < {limit:g} m; a hole counts as a miss",
        compute=lambda r: r.number_within(limit) / r.n_ref_valid if r.n_ref_valid else None,
    )


def _fractions() -> Iterator[ResidualMetric]:
    for limit in THRESHOLDS_M:
        yield _within(limit)
        yield _complete(limit)
    yield SampledMetric(
        key="n",
        label="n",
        unit="count",
        direction="none",
        formula="number of pixels that were compared",
        compute=lambda r: r.n,
        shown=("table", "page", "verb", "narrow"),
    )
    yield SampledMetric(
        key="n_ref_valid",
        label="n of the reference",
        unit="count",
        direction="none",
        formula="number of pixels on which the reference counts",
        compute=lambda r: r.n_ref_valid,
    )


RESIDUAL: tuple[ResidualMetric, ...] = (*_counts(), *_errors(), *_spreads(), *_fractions())
COMMON = Metric(
    key="completeness_common",
    label="common domain",
    short="common",
    unit="fraction",
    direction="none",
    formula="fraction of the reference's pixels on which every compared DSM has a height",
)
"""Known only where several DSMs are compared."""
COUNTS = ("completeness_valid", "n", "n_ref_valid")
"""What is known where no pixel was compared, too."""
