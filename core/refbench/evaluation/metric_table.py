"""Every metric by its key: label, unit, which way is better, and the formula. Tables and reports take them here."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

Direction = Literal["lower", "higher", "zero", "one", "none"]
ARROWS: dict[Direction, str] = {"lower": "↓", "higher": "↑", "zero": "→0", "one": "→1", "none": ""}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. e = evaluated - reference and a = |e| in the formula; shares lie in [0, 1], printed in percent."""

    key: str
    label: str
    unit: Literal["m", "share", "deg", "ratio", "count"]
    direction: Direction
    formula: str
    short: str = ""
    """Label for narrow columns; empty: ``label``."""

    @property
    def arrow(self) -> str:
        """The arrow that says which way is better; empty where none is."""
        return ARROWS[self.direction]

    @property
    def heading(self) -> str:
        """Label, unit and arrow, such as ``MAE (m) ↓``."""
        unit = {"m": " (m)", "deg": " (deg)"}.get(self.unit, "")
        return f"{self.label}{unit} {self.arrow}".rstrip()

    @property
    def narrow_heading(self) -> str:
        """Short label and arrow."""
        return f"{self.short or self.label} {self.arrow}".rstrip()

    def text(self, value: float | None, decimals: int = 3) -> str:
        """Return a value as text: shares in percent, counts whole, a dash where it is missing.

        >>> METRICS["mae"].text(1.25), METRICS["completeness_valid"].text(0.5), METRICS["n"].text(None)
        ('1.250', '50.0 %', '–')
        """
        if value is None:
            return "–"
        if self.unit == "share":
            return f"{100 * value:.1f} %"
        return f"{value:,.0f}" if self.unit == "count" else f"{value:.{decimals}f}"

    def distance(self, value: float) -> float:
        """Return how far a value is from the best one: what comparisons order by."""
        return {"higher": -value, "zero": abs(value), "one": abs(value - 1)}.get(self.direction, value)


def _metrics() -> Iterator[Metric]:
    yield Metric("n", "n", "count", "none", "number of pixels that were compared")
    yield Metric("n_ref_valid", "n of the reference", "count", "none", "number of pixels on which the reference counts")
    text = "share of the reference's pixels on which the DSM has a height"
    yield Metric("completeness_valid", "completeness", "share", "higher", text, "complete")
    text = "share of the reference's pixels on which every compared DSM has a height"
    yield Metric("completeness_common", "common domain", "share", "none", text, "common")
    yield Metric("bias", "bias", "m", "zero", "mean e")
    yield Metric("median", "median", "m", "zero", "median e")
    yield Metric("mae", "MAE", "m", "lower", "mean a")
    yield Metric("rmse", "RMSE", "m", "lower", "square root of the mean of e²")
    yield Metric("std", "standard deviation", "m", "lower", "square root of the mean of (e - mean e)²", "std")
    yield Metric("medae", "median |e|", "m", "lower", "median a")
    yield Metric("nmad", "NMAD", "m", "lower", "1.4826 median|e - median e|")
    text = "1.4826 median|e - median a|: what two published evaluations print as NMAD"
    yield Metric("nmad_about_medae", "NMAD about median |e|", "m", "lower", text)
    yield Metric("min", "minimum", "m", "none", "smallest e")
    yield Metric("max", "maximum", "m", "none", "largest e")
    yield Metric("le68", "LE68", "m", "lower", "68.27th percentile of a")
    yield Metric("p68", "P68 of |e|", "m", "lower", "68th percentile of a")
    yield Metric("z50", "Z50", "m", "lower", "50th percentile of a")
    yield Metric("z90", "Z90", "m", "lower", "90th percentile of a")
    yield Metric("le90", "LE90", "m", "lower", "90th percentile of a")
    yield Metric("le95", "LE95", "m", "lower", "95th percentile of a")
    text = "1.6449 RMSE: the 90th percentile of a where e is normal with mean 0"
    yield Metric("le90_normal", "LE90 (normal)", "m", "lower", text)
    yield Metric("p90_about_mean", "P90 about the mean", "m", "lower", "90th percentile of |e - mean e|")
    yield Metric("range90", "P95 - P5", "m", "lower", "95th minus 5th percentile of e, a full width")
    yield Metric("iqr", "IQR", "m", "lower", "75th minus 25th percentile of e")
    for t in ("0.5", "1", "2", "3", "5"):
        text = f"share of the compared pixels with a < {t} m"
        yield Metric(f"within_{t}m", f"within {t} m", "share", "higher", text, f"< {t} m")
        text = f"share of the reference's pixels with a < {t} m; a hole counts as a miss"
        yield Metric(f"complete_{t}m", f"complete within {t} m", "share", "higher", text)
    text = "of the pixels within 0.5 m of the reference before refinement the fraction that is not after it"
    yield Metric("harm_rate", "harm rate", "share", "lower", text, "harm")
    yield from _shape_metrics()
    yield from _view_metrics()


def _view_metrics() -> Iterator[Metric]:
    yield Metric("abs_rel", "AbsRel", "ratio", "lower", "depth maps: mean of a over the reference's depth")
    text = "depth maps: share of the compared pixels whose depths differ by less than a factor of 1.25"
    yield Metric("delta_1", "δ < 1.25", "share", "higher", text)
    text = "rendered views: -10 log10 of the mean square error on covered pixels, colours in [0, 1]"
    yield Metric("psnr_db", "PSNR (dB)", "ratio", "higher", text)
    yield Metric("ssim", "SSIM", "ratio", "higher", "rendered views: mean over windows of 11 x 11 px that are covered")
    yield Metric("coverage", "coverage", "share", "higher", "rendered views: share of the photograph that is covered")


def _shape_metrics() -> Iterator[Metric]:
    yield Metric("slope_mae_deg", "slope MAE", "deg", "lower", "mean absolute difference of the Horn slopes")
    yield Metric("slope_rmse_deg", "slope RMSE", "deg", "lower", "root mean square difference of the Horn slopes")
    text = "mean angle between the surface normals"
    yield Metric("normal_angle_mean_deg", "normals, mean angle", "deg", "lower", text)
    text = "median angle between the surface normals"
    yield Metric("normal_angle_median_deg", "normals, median angle", "deg", "lower", text)
    text = "median angle between the normals on roofs, building mask eroded by 3"
    yield Metric("roof_normal_angle_median_deg", "roof normals, median angle", "deg", "lower", text)
    text = "mean gradient in the building border over the reference's: below 1 blurred, above 1 noisy"
    yield Metric(
        "edge_gradient_ratio", "edge gradient, share of the reference's", "ratio", "one", text, "edge gradient"
    )
    text = "share of the step edges (over 2 m in 3 x 3 cells) that the reference has within a pixel"
    yield Metric("step_edge_precision", "step edges, precision", "ratio", "higher", text)
    text = "share of the reference's step edges that the DSM has within a pixel"
    yield Metric("step_edge_recall", "step edges, recall", "ratio", "higher", text)
    text = "harmonic mean of the precision and the recall of step edges"
    yield Metric("step_edge_f1", "step edges, F1", "ratio", "higher", text)
    text = "median over roofs of the RMS about the plane that fits the DSM best"
    yield Metric("roof_plane_rms_median_m", "roof planes, median RMS", "m", "lower", text)


METRICS: dict[str, Metric] = {metric.key: metric for metric in _metrics()}
"""Key -> metric, in the order in which tables show them."""


def metric(key: str) -> Metric:
    """Return the metric of a key.

    Raises
    ------
    InputError
        There is no such metric; the message lists near ones.
    """
    if key in METRICS:
        return METRICS[key]
    near = difflib.get_close_matches(key, METRICS, n=3, cutoff=0.3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(METRICS)}."
    raise InputError(f"There is no metric {key!r}; {hint}")
