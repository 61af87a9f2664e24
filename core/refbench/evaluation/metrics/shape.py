"""Metrics of the shape of surfaces: slopes, normals, edges, roof planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.evaluation.metrics.record import ComputedMetric
from refbench.evaluation.states import median

if TYPE_CHECKING:
    from refbench.evaluation.states import ShapeState

    ShapeMetric = ComputedMetric[ShapeState]


def _harmonic_mean(pair: tuple[float | None, float | None]) -> float | None:
    first, second = pair
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


SHAPE: tuple[ShapeMetric, ...] = (
    ComputedMetric(
        key="slope_mae_deg",
        label="slope MAE",
        unit="deg",
        direction="lower",
        formula="mean absolute difference of the Horn slopes",
        compute=lambda s: s.slope_error_deg.mean_size,
        shown=("table", "verb"),
    ),
    ComputedMetric(
        key="slope_rmse_deg",
        label="slope RMSE",
        unit="deg",
        direction="lower",
        formula="root mean square difference of the Horn slopes",
        compute=lambda s: s.slope_error_deg.root_mean_square,
    ),
    ComputedMetric(
        key="normal_angle_mean_deg",
        label="normals, mean angle",
        unit="deg",
        direction="lower",
        formula="mean angle between the surface normals",
        compute=lambda s: s.normal_angle_deg.mean,
    ),
    ComputedMetric(
        key="normal_angle_median_deg",
        label="normals, median angle",
        unit="deg",
        direction="lower",
        formula="median angle between the surface normals",
        compute=lambda s: s.normal_angle_deg.median,
        shown=("table", "verb"),
    ),
    ComputedMetric(
        key="roof_normal_angle_median_deg",
        label="roof normals, median angle",
        unit="deg",
        direction="lower",
        formula="median angle between the normals on roofs, building mask eroded by 3",
        compute=lambda s: s.roof_normal_angle_deg.median,
        strata=("building_undilated",),
        shown=("table", "verb"),
    ),
    ComputedMetric(
        key="edge_gradient_ratio",
        label="edge gradient, ratio to the reference's",
        short="edge gradient",
        unit="ratio",
        direction="one",
        formula="mean gradient in the building border over the reference's: below 1 blurred, above 1 noisy",
        compute=lambda s: s.gradient_ratio("building_border"),
        strata=("building_border",),
        shown=("table", "verb"),
    ),
    ComputedMetric(
        key="step_edge_precision",
        label="step edges, precision",
        unit="ratio",
        direction="higher",
        formula="fraction of the step edges (over 2 m in 3 x 3 cells) that the reference has within a pixel",
        compute=lambda s: s.step_edges[0],
    ),
    ComputedMetric(
        key="step_edge_recall",
        label="step edges, recall",
        unit="ratio",
        direction="higher",
        formula="fraction of the reference's step edges that the DSM has within a pixel",
        compute=lambda s: s.step_edges[1],
    ),
    ComputedMetric(
        key="step_edge_f1",
        label="step edges, F1",
        unit="ratio",
        direction="higher",
        formula="harmonic mean of the precision and the recall of step edges",
        compute=lambda s: _harmonic_mean(s.step_edges),
        shown=("table", "verb"),
    ),
    ComputedMetric(
        key="roof_plane_rms_median_m",
        label="roof planes, median RMS",
        unit="m",
        direction="lower",
        formula="median over roofs of the RMS about the plane that fits the DSM best",
        compute=lambda s: median(s.roof_planes.values()),
        strata=("building_undilated",),
        shown=("table", "verb"),
    ),
)
