"""Shape of surfaces: slopes, normals, edges, roof planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from scipy import ndimage

from refbench.evaluation.slope import angle_between_normals_deg, horn_gradient, slope_rad
from refbench.evaluation.strata import dilated, eroded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

STEP_EDGE_M = 2.0
ROOF_EROSION_NORMALS = 3
ROOF_EROSION_PLANE = 2
ROOF_MIN_PIXELS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Heights float32 [rows, cols], NaN where unknown, with their Horn gradient (dz/dx, dz/dy)."""

    heights: NDArray[np.float32]
    gradient: tuple[Floats, Floats]

    @classmethod
    def of(cls, heights: NDArray[np.float32], gsd: float) -> Surface:
        """Return the surface of heights with square pixels of ``gsd`` metres."""
        return cls(heights, horn_gradient(heights, gsd))

    @property
    def has_slope(self) -> Bools:
        """Where the gradient is defined."""
        return np.isfinite(self.gradient[0]) & np.isfinite(self.gradient[1])


def shape_errors(
    evaluated: Surface, reference: Surface, domain: Bools, building: Bools | None = None, border: Bools | None = None
) -> dict[str, Any]:
    """Return slope and normal errors and the sharpness of edges.

    Parameters
    ----------
    evaluated, reference
        Surfaces on one grid.
    domain
        D: where both heights count. Slopes are compared where both are defined as well; ``n`` counts these.
    building
        The undilated building mask: normals on roofs (eroded by 3).
    border
        The band around building outlines: gradient magnitude there (1 = as sharp as the reference).
    """
    where = domain & evaluated.has_slope & reference.has_slope
    pick = [(g[0][where], g[1][where]) for g in (evaluated.gradient, reference.gradient)]
    slopes = [np.degrees(slope_rad(*gradient)) for gradient in pick]
    difference = slopes[0] - slopes[1]
    angles = angle_between_normals_deg(*pick)
    found: dict[str, Any] = {"n": int(where.sum())}
    found["slope_mae_deg"] = _mean(np.abs(difference))
    found["slope_rmse_deg"] = None if difference.size == 0 else float(np.sqrt(np.mean(difference**2)))
    found["normal_angle_mean_deg"] = _mean(angles)
    found["normal_angle_median_deg"] = _median(angles)
    if building is not None:
        found["roof_normal_angle_median_deg"] = _median(angles[eroded(building, ROOF_EROSION_NORMALS)[where]])
    if border is not None:
        inside = border[where]
        sizes = [np.hypot(*gradient)[inside] for gradient in pick]
        total = float(sizes[1].sum()) if inside.any() else 0.0
        found["edge_gradient_ratio"] = float(sizes[0].sum()) / total if total > 0 else None
    return found


def step_edges(heights: NDArray[np.float32], step_m: float = STEP_EDGE_M) -> Bools:
    """Return where (max - min) of the valid cells of the 3 x 3 window, cut at the border, exceeds ``step_m``."""
    valid = np.isfinite(heights)
    window = np.ones((3, 3), np.uint8)  # OpenCV leaves out what lies past the border
    high = cv2.dilate(np.where(valid, heights, np.float32(-np.inf)), window)
    low = cv2.erode(np.where(valid, heights, np.float32(np.inf)), window)
    with np.errstate(invalid="ignore"):
        return np.asarray(high.astype(np.float64) - low.astype(np.float64) > step_m)


def step_edge_scores(
    evaluated: NDArray[np.float32], reference: NDArray[np.float32], domain: Bools, step_m: float = STEP_EDGE_M
) -> dict[str, float | None]:
    """Return precision, recall and F1 of height steps, with a slack of one 4-neighbour pixel."""
    found, true = step_edges(evaluated, step_m) & domain, step_edges(reference, step_m) & domain
    precision = _ratio(int((found & dilated(true, 1)).sum()), int(found.sum()))
    recall = _ratio(int((true & dilated(found, 1)).sum()), int(true.sum()))
    f1 = None
    if precision is not None and recall is not None:
        f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return {"step_edge_precision": precision, "step_edge_recall": recall, "step_edge_f1": f1}


def roof_planes(evaluated: NDArray[np.float32], labels: NDArray[Any], domain: Bools, gsd: float) -> dict[str, Any]:
    """Return the RMS distance of the evaluated roofs to their own least-squares planes, per label and the median.

    A label [rows, cols] of 0 is background. Each label is eroded by 2, then restricted to the domain; labels that
    keep fewer than 12 pixels are left out.
    """
    ids: list[int] = []
    values: list[float] = []
    for index, box in enumerate(ndimage.find_objects(labels.astype(np.int64)), start=1):
        if box is None:
            continue
        # Outside its box there is nothing of a label, as there is nothing past the border of a raster.
        rows, cols = np.nonzero(eroded(labels[box] == index, ROOF_EROSION_PLANE) & domain[box])
        if rows.size < ROOF_MIN_PIXELS:
            continue
        z = evaluated[box][rows, cols].astype(np.float64)
        design = np.column_stack([np.ones(rows.size), cols * gsd, rows * gsd])
        z = z - z.mean()
        coefficients = np.linalg.lstsq(design, z, rcond=None)[0]
        ids.append(index)
        values.append(float(np.sqrt(np.mean((z - design @ coefficients) ** 2))))
    return {
        "roof_plane_rms_median_m": float(np.median(values)) if values else None,
        "roof_plane_rms_per_label_m": values,
        "roof_plane_labels": ids,
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if values.size else None
