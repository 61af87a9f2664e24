"""Shape of surfaces: slopes, normals, edges, roof planes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from scipy import ndimage

from refbench.evaluation.orientation import Orientation
from refbench.evaluation.slope import angle_between_normals_deg, horn_gradient, slope_rad
from refbench.evaluation.states import Values
from refbench.evaluation.strata import SQUARE, dilated, eroded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affine import Affine
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

STEP_EDGE_M = 2.0
ROOF_EROSION_NORMALS = 3
ROOF_EROSION_PLANE = 2
ROOF_MIN_PIXELS = 12


@dataclass(frozen=True, eq=False)
class Surface:
    """Heights float32 [rows, cols], NaN where unknown, with what is computed from them once, when it is asked for."""

    heights: NDArray[np.float32]
    transform: Affine
    """(col, row) of pixel corners to metres: any affine."""

    @cached_property
    def gradient(self) -> tuple[Floats, Floats]:
        """Horn's dz/dx and dz/dy, float64 [rows, cols] each, NaN where undefined."""
        return horn_gradient(self.heights, self.transform)

    @cached_property
    def orientation(self) -> Orientation:
        """The turn that its relief picks."""
        return Orientation.of(self.heights)

    @property
    def pixel(self) -> tuple[float, float]:
        """Size of a pixel in metres, down the rows and along the columns."""
        t = self.transform
        return float(np.hypot(t.b, t.e)), float(np.hypot(t.a, t.d))

    @cached_property
    def has_slope(self) -> Bools:
        """Where the gradient is defined."""
        return np.isfinite(self.gradient[0]) & np.isfinite(self.gradient[1])


class ShapePair:
    """A ``ShapeState`` in memory: two surfaces on one grid and what the metrics of shape take from them.

    Parameters
    ----------
    evaluated, reference
        Surfaces on one grid.
    domain
        D: where both heights count, bool [rows, cols]. Slopes are compared where both are defined as well.
    strata
        Name -> bool [rows, cols]; ``building_undilated`` and ``building_border`` allow the metrics of roofs and edges.
    labels
        Numbers of the buildings [rows, cols], 0 none; None takes the connected parts of the building mask.
    """

    def __init__(
        self,
        evaluated: Surface,
        reference: Surface,
        domain: Bools,
        strata: Mapping[str, Bools] | None = None,
        labels: NDArray[Any] | None = None,
    ) -> None:
        self._evaluated, self._reference, self._domain = evaluated, reference, domain
        self.strata = strata or {}
        self._labels = labels
        self.where = domain & evaluated.has_slope & reference.has_slope
        self.n = int(self.where.sum())

    @cached_property
    def _gradients(self) -> list[tuple[Floats, Floats]]:
        """(dz/dx, dz/dy) of evaluated and reference, float64 [n] each."""
        return [(g[0][self.where], g[1][self.where]) for g in (self._evaluated.gradient, self._reference.gradient)]

    @cached_property
    def slope_error_deg(self) -> Values:
        """Slope evaluated minus reference, degrees [n]."""
        first, second = (np.degrees(slope_rad(*gradient)) for gradient in self._gradients)
        return Values(first - second)

    @cached_property
    def _angles(self) -> Floats:
        return angle_between_normals_deg(*self._gradients)

    @cached_property
    def normal_angle_deg(self) -> Values:
        """Angle between the normals, degrees [n]."""
        return Values(self._angles)

    @cached_property
    def roof_normal_angle_deg(self) -> Values:
        """The same on roofs: building mask eroded by 3 [<= n]."""
        roofs = eroded(self.strata["building_undilated"], ROOF_EROSION_NORMALS, self._reference.pixel)
        return Values(self._angles[roofs[self.where]])

    def gradient_ratio(self, stratum: str) -> float | None:
        """Return the sum of gradient magnitudes in a stratum over that of the reference; None where that is 0."""
        inside = self.strata[stratum][self.where]
        first, second = (float(np.hypot(*gradient)[inside].sum()) for gradient in self._gradients)
        return first / second if second > 0 else None

    @cached_property
    def step_edges(self) -> tuple[float | None, float | None]:
        """Precision and recall of height steps, with a slack of one 4-neighbour pixel."""
        pair = (self._evaluated, self._reference)
        found, true = (step_edges(surface.heights, surface.pixel) & self._domain for surface in pair)
        near_true, near_found = (dilated(edges, 1, self._reference.pixel) for edges in (true, found))
        precision = _ratio(int((found & near_true).sum()), int(found.sum()))
        return precision, _ratio(int((true & near_found).sum()), int(true.sum()))

    @cached_property
    def roof_planes(self) -> dict[int, float]:
        """Label -> RMS distance of the evaluated roof to its plane, metres; see ``roof_planes``."""
        labels = self._labels
        if labels is None:
            labels = building_labels(self.strata["building_undilated"], self._reference.orientation)
        return roof_planes(self._evaluated, labels, self._domain)


def building_labels(building: Bools, turn: Orientation) -> NDArray[Any]:
    """Return the number of the connected part of every pixel [rows, cols] of a building mask, 0 outside.

    Numbered in the order that the relief picks, so that the list of roofs is the same however the raster is written.
    """
    return turn.undo(np.asarray(ndimage.label(turn.apply(building))[0]))


def step_edges(heights: NDArray[np.float32], pixel: tuple[float, float] = SQUARE) -> Bools:
    """Return where (max - min) of the valid cells of the window, cut at the border, exceeds ``STEP_EDGE_M``.

    The window is 3 x 3 cells of heights [rows, cols]; of oblong pixels more of the narrow ones, so that it is about as
    wide as high on the ground.
    """
    valid = np.isfinite(heights)
    mean = (pixel[0] * pixel[1]) ** 0.5
    reach = [max(1, round(mean / size)) for size in pixel]
    window = np.ones([2 * pixels + 1 for pixels in reach], np.uint8)  # OpenCV leaves out what lies past the border
    high = cv2.dilate(np.where(valid, heights, np.float32(-np.inf)), window)
    low = cv2.erode(np.where(valid, heights, np.float32(np.inf)), window)
    with np.errstate(invalid="ignore"):
        return np.asarray(high.astype(np.float64) - low.astype(np.float64) > STEP_EDGE_M)


def roof_planes(evaluated: Surface, labels: NDArray[Any], domain: Bools) -> dict[int, float]:
    """Return label -> RMS distance in metres of the evaluated roof to its own least-squares plane.

    A label [rows, cols] of 0 is background. Each label is eroded by 2, then restricted to the domain; labels that
    keep fewer than 12 pixels are left out.
    """
    found: dict[int, float] = {}
    for index, box in enumerate(ndimage.find_objects(labels.astype(np.int64)), start=1):
        if box is None:
            continue
        # Outside its box there is nothing of a label, as there is nothing past the border of a raster.
        rows, cols = np.nonzero(eroded(labels[box] == index, ROOF_EROSION_PLANE, evaluated.pixel) & domain[box])
        if rows.size < ROOF_MIN_PIXELS:
            continue
        z = evaluated.heights[box][rows, cols].astype(np.float64)
        # A plane over columns and rows is one over metres, whatever the affine; centred, the fit loses no digits.
        design = np.column_stack([np.ones(rows.size), cols - cols.mean(), rows - rows.mean()])
        z = z - z.mean()
        coefficients = np.linalg.lstsq(design, z, rcond=None)[0]
        found[index] = float(np.sqrt(np.mean((z - design @ coefficients) ** 2)))
    return found


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
