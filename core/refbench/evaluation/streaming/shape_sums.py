"""Slopes, normals, edges and roofs of rasters of any size: a ``ShapeState`` that is filled tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.shape import (
    ROOF_EROSION_NORMALS,
    ROOF_EROSION_PLANE,
    Surface,
    step_edges,
)
from refbench.evaluation.slope import angle_between_normals_deg, slope_rad
from refbench.evaluation.strata import BUILDING_DILATION, dilated, element, eroded
from refbench.evaluation.streaming.value_sums import ValueSums

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from refbench.evaluation.streaming.tiles import Tile

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

BORDER, BUILDING = "building_border", "building_undilated"
ANGLE_STEP_DEG = 2.0**-10
LARGEST_ANGLE_DEG = 180.0


def halo_px(pixel: tuple[float, float]) -> int:
    """Return how many pixels around a tile its metrics look at; ``pixel`` is its size down and along, metres."""
    number = max(BUILDING_DILATION, ROOF_EROSION_NORMALS, ROOF_EROSION_PLANE)
    # A step edge looks at a window as wide as high on the ground, and then one pixel further for its partner.
    mean = (pixel[0] * pixel[1]) ** 0.5
    window: int = max(max(1, round(mean / size)) for size in pixel)
    return max(_reach(number, pixel), window + _reach(1, pixel))


def _reach(number: int, pixel: tuple[float, float]) -> int:
    rows, cols = element(number, pixel).shape
    return int(max(rows, cols) // 2)


class TileShape:
    """What all DSMs of a tile share: the reference's slopes and edges, and the domain.

    Parameters
    ----------
    tile
        The tile.
    surface
        Its reference.
    domain
        Where heights are compared, bool [rows, cols] with the surroundings.
    land
        Strata likewise.
    """

    def __init__(self, tile: Tile, surface: Surface, domain: Bools, land: Mapping[str, Bools]) -> None:
        self.tile, self.surface, self.domain, self.land = tile, surface, domain, land
        self.edges = step_edges(surface.heights, surface.pixel) & domain
        self.roofs = None
        if BUILDING in land:
            self.roofs = eroded(land[BUILDING], ROOF_EROSION_NORMALS, surface.pixel)


class ShapeSums:
    """The shape of one DSM against the reference; see ``states.ShapeState``."""

    def __init__(self, strata: Collection[str]) -> None:
        self.strata: Mapping[str, object] = dict.fromkeys(strata)
        self.n = 0
        self.slope_error_deg = ValueSums()
        self.normal_angle_deg = ValueSums(ANGLE_STEP_DEG, LARGEST_ANGLE_DEG)
        self.roof_normal_angle_deg = ValueSums(ANGLE_STEP_DEG, LARGEST_ANGLE_DEG)
        self.roof_planes: dict[int, float] = {}
        """Set once all tiles were seen; see ``Roofs``."""
        self._gradients = np.zeros(2)
        self._edges = np.zeros(4, np.int64)

    def add(self, shared: TileShape, heights: NDArray[np.float32]) -> None:
        """Take in a tile; ``heights`` [rows, cols] with the surroundings, NaN where they do not count."""
        tile, reference = shared.tile, shared.surface
        evaluated = Surface(heights, reference.transform)
        self._add_edges(shared, evaluated)
        where = (shared.domain & evaluated.has_slope & reference.has_slope)[tile.inner]
        self.n += int(np.count_nonzero(where))
        first, second = (
            (surface.gradient[0][tile.inner][where], surface.gradient[1][tile.inner][where])
            for surface in (evaluated, reference)
        )
        self.slope_error_deg.add(np.degrees(slope_rad(*first)) - np.degrees(slope_rad(*second)))
        angles = angle_between_normals_deg(first, second)
        self.normal_angle_deg.add(angles)
        if shared.roofs is not None:
            self.roof_normal_angle_deg.add(angles[shared.roofs[tile.inner][where]])
        if BORDER in shared.land:
            inside = shared.land[BORDER][tile.inner][where]
            self._gradients += [np.hypot(p[inside], q[inside]).sum() for p, q in (first, second)]

    def _add_edges(self, shared: TileShape, evaluated: Surface) -> None:
        inner, pixel = shared.tile.inner, shared.surface.pixel
        true, found = shared.edges, step_edges(evaluated.heights, pixel) & shared.domain
        near_true, near_found = (dilated(edges, 1, pixel) for edges in (true, found))
        self._edges += [np.count_nonzero(edges[inner]) for edges in (found & near_true, found, true & near_found, true)]

    @property
    def step_edges(self) -> tuple[float | None, float | None]:
        """Precision and recall of height steps."""
        hits, found, recalled, true = (int(count) for count in self._edges)
        return (hits / found if found else None), (recalled / true if true else None)

    def gradient_ratio(self, stratum: str) -> float | None:
        """Return the sum of gradient magnitudes in the building border over that of the reference."""
        if stratum != BORDER:
            raise ValueError(f"Gradients are summed in {BORDER}, not in {stratum}.")
        first, second = (float(total) for total in self._gradients)
        return first / second if second > 0 else None
