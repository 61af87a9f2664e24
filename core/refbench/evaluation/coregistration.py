"""Coregistration of two DSMs on stable ground: the solver of ``shift_solver`` on cubic interpolation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from scipy import ndimage

from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.contracts.raster import DSM
from refbench.evaluation.orientation import Orientation
from refbench.evaluation.shift_solver import MIN_SAMPLES, Samples, nmad_of, residuals_at, solve_shift
from refbench.evaluation.slope import ground_gradient
from refbench.geometry.warp import warp_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import Mask

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

UNSTABLE = ("water", "forest")
"""Masks that are no stable ground."""
MAX_SAMPLES = 500_000
"""More of them change a shift by less than 0.001 px."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What has to be added to a DSM's coordinates and heights, in metres, and how it was found."""

    east_m: float
    north_m: float
    up_m: float
    samples: int
    iterations: int
    nmad_before: float
    nmad_after: float

    def values(self) -> dict[str, Any]:
        """Return the shift as JSON-ready values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Shift:
        """Return the shift that ``values`` gave."""
        return cls(**values)

    def moved(self, grid: Grid) -> Grid:
        """Return a grid moved in the plane."""
        t = grid.transform
        return replace(grid, transform=Affine(t.a, t.b, t.c + self.east_m, t.d, t.e, t.f + self.north_m))

    def __str__(self) -> str:
        return f"{self.east_m:+.3f} m east, {self.north_m:+.3f} m north, {self.up_m:+.3f} m up"


def shifted(dsm: DSM, shift: Shift) -> DSM:
    """Return a DSM moved by a shift: its grid in the plane, its heights up."""
    return DSM(dsm.heights + np.float32(shift.up_m), shift.moved(dsm.grid))


def coregister(to_align: DSM, reference: DSM, masks: Mapping[str, Mask] | None = None) -> Shift:
    """Return the shift that lays ``to_align`` on ``reference``.

    Parameters
    ----------
    to_align
        The DSM to move; in the CRS of the reference.
    reference
        The reference DSM, on any affine grid; slopes and samples are its own.
    masks
        Class masks by name: what is water or forest takes no part.

    Raises
    ------
    InputError
        Grids of different CRS, or too little common ground with relief to tell a shift by.
    """
    grid = reference.grid
    if None not in (to_align.grid.crs, grid.crs) and to_align.grid.crs != grid.crs:
        raise InputError("Only DSMs of one CRS are coregistered; reproject one of them first.")
    known = int(to_align.valid.sum())
    if known < MIN_SAMPLES:
        raise InputError(f"The DSM to align has {known} known heights; coregistration needs {MIN_SAMPLES}.")
    samples, points = _samples(reference, masks or {})
    surface = _Spline(to_align, *points)
    solution = solve_shift(surface, samples)
    before, after = (residuals_at(surface, samples, shift) for shift in (np.zeros(2), solution.shift))
    return Shift(
        float(solution.shift[0]),
        float(solution.shift[1]),
        -float(np.median(after)),
        int(after.size),
        solution.rounds,
        nmad_of(before),
        nmad_of(after),
    )


def _samples(reference: DSM, masks: Mapping[str, Mask]) -> tuple[Samples, tuple[Floats, Floats]]:
    """Return the stable pixels of the reference, at most ``MAX_SAMPLES``, and their x and y in the CRS [N]."""
    truth = reference.heights.astype(np.float64)
    down, right = (np.asarray(slope, np.float64) for slope in np.gradient(truth))
    stable = _stable(reference, masks) & np.isfinite(truth) & np.isfinite(down) & np.isfinite(right)
    # Drawn in the order that the relief picks: the same pixels however the raster is written.
    turn = Orientation.of(reference.heights)
    rows, cols = turn.positions(stable)
    if rows.size > MAX_SAMPLES:
        draw = derived_rng(0, "coregistration").choice(rows.size, MAX_SAMPLES, replace=False, shuffle=False)
        rows, cols = rows[np.sort(draw)], cols[np.sort(draw)]
    east, north = ground_gradient(right[rows, cols], down[rows, cols], reference.grid.transform)
    t = reference.grid.transform
    x, y = (a * (cols + 0.5) + b * (rows + 0.5) + c for a, b, c in ((t.a, t.b, t.c), (t.d, t.e, t.f)))
    return Samples(truth[rows, cols], east, north, reference.grid.gsd), (x, y)


class _Spline:
    """A DSM as a cubic spline, read at points x, y [N] of its CRS."""

    def __init__(self, dsm: DSM, x: Floats, y: Floats) -> None:
        known = dsm.valid
        # Cubic splines know no holes: they are filled, and what touches a filled pixel does not count.
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        heights = dsm.heights.astype(np.float64)[tuple(nearest)]
        self._offset = float(np.median(heights))
        self._coefficients = ndimage.spline_filter(heights - self._offset, order=3, mode="nearest")
        self._known = ndimage.binary_erosion(known, np.ones((3, 3), np.bool_), border_value=0).astype(np.float32)
        self._grid, self._x, self._y = dsm.grid, x, y

    def at(self, shift: Floats) -> Floats:
        """Return the heights [N] of the surface moved by ``shift`` metres; NaN where unknown."""
        # Features move east by ``shift``: the surface is read that much to the west.
        col, row = self._grid.pixel_of(self._x - shift[0], self._y - shift[1])
        where = np.stack([row - 0.5, col - 0.5])
        heights = ndimage.map_coordinates(self._coefficients, where, order=3, prefilter=False, mode="nearest")
        known = ndimage.map_coordinates(self._known, where, order=1, mode="constant", cval=0.0)
        return np.where(known > 1 - 1e-6, heights + self._offset, np.nan)


def _stable(reference: DSM, masks: Mapping[str, Mask]) -> Bools:
    stable = np.ones(reference.grid.shape, np.bool_)
    for name in UNSTABLE:
        if name in masks:
            mask = masks[name]
            mask = mask if mask.grid is None or mask.grid == reference.grid else warp_mask(mask, reference.grid)
            stable &= ~mask.is_class
    return stable
