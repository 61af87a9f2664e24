"""Signs that two surfaces do not belong on top of each other: a shift in the plane, another vertical datum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.evaluation.shift_solver import Samples, solve_shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.evaluation.shape import Surface

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

SHIFT_WARNING_PX = 0.25
DATUM_WARNING_M = 5.0
SAMPLES = 40_000
STOP_PX = 0.01
SURE = 5.0
"""Standard errors below which a shift is not told from chance: errors of neighbouring pixels are alike."""


def estimated_shift(heights: NDArray[np.float32], reference: Surface, valid: Bools) -> tuple[float, float]:
    """Return how far a surface lies to the east and north of the reference, in metres.

    The solver of the coregistration on at most ``SAMPLES`` pixels, so that shifts of whole pixels are found and edges,
    which tell most of them, are not clipped away. A warning light, not a coregistration: (0, 0) where the relief tells
    nothing.

    Parameters
    ----------
    heights
        float32 [rows, cols] on the reference's grid, NaN unknown.
    reference
        The reference with its slopes.
    valid
        Where both heights count.
    """
    p, q = reference.gradient
    turn = reference.orientation
    rows, cols = turn.positions(valid & np.isfinite(p))
    if rows.size > SAMPLES:
        drawn = np.sort(derived_rng(0, "misalignment").choice(rows.size, SAMPLES, replace=False, shuffle=False))
        rows, cols = rows[drawn], cols[drawn]
    t = reference.transform
    gsd = float(np.sqrt(abs(t.determinant)))
    samples = Samples(reference.heights[rows, cols].astype(np.float64), p[rows, cols], q[rows, cols], gsd)
    try:
        solution = solve_shift(_Cubic(heights, rows, cols, reference), samples, STOP_PX)
    except InputError:  # too few pixels, no relief, nothing in common
        return 0.0, 0.0
    if np.hypot(*solution.shift) < SURE * solution.error_m:
        return 0.0, 0.0
    return float(-solution.shift[0]), float(-solution.shift[1])


class _Cubic:
    """Heights read between pixels by Keys' cubic convolution (1981): 4 x 4 neighbours, NaN where one is unknown."""

    def __init__(
        self, heights: NDArray[np.float32], rows: NDArray[np.intp], cols: NDArray[np.intp], reference: Surface
    ) -> None:
        self._heights, self._rows, self._cols = heights, rows, cols
        self._read: dict[tuple[int, int], Floats] = {}
        self._inverse = ~reference.transform

    def at(self, shift: Floats) -> Floats:
        """Return the heights [N] at the sample pixels of the surface moved by ``shift`` (east, north) metres."""
        # All samples are moved alike, so each of the 16 neighbours has one weight.
        right = -(self._inverse.a * shift[0] + self._inverse.b * shift[1])
        down = -(self._inverse.d * shift[0] + self._inverse.e * shift[1])
        first_row, first_col = int(np.floor(down)), int(np.floor(right))
        total = np.zeros(self._rows.size)
        for i, weight_row in zip(range(-1, 3), _keys(down - first_row), strict=True):
            for j, weight_col in zip(range(-1, 3), _keys(right - first_col), strict=True):
                if weight_row * weight_col != 0:
                    total += weight_row * weight_col * self._moved(first_row + i, first_col + j)
        return total

    def _moved(self, down: int, right: int) -> Floats:
        """Return the heights [N] of whole pixels away; NaN past the border. Kept: steps soon stay within a pixel."""
        if (down, right) in self._read:
            return self._read[down, right]
        rows, cols = self._rows + down, self._cols + right
        height, width = self._heights.shape
        inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
        values = self._heights[rows.clip(0, height - 1), cols.clip(0, width - 1)].astype(np.float64)
        self._read[down, right] = np.where(inside, values, np.nan)
        return self._read[down, right]


def _keys(x: float) -> tuple[float, float, float, float]:
    """Return the weights of the four neighbours of a place x in [0, 1) after the second, a = -1/2."""
    return (
        -0.5 * x**3 + x**2 - 0.5 * x,
        1.5 * x**3 - 2.5 * x**2 + 1,
        -1.5 * x**3 + 2 * x**2 + 0.5 * x,
        0.5 * x**3 - 0.5 * x**2,
    )


def misalignment_warnings(
    heights: NDArray[np.float32], reference: Surface, valid: Bools, grids: tuple[Grid, Grid], median: float
) -> list[str]:
    """Return sentences on a shift above 0.25 px and on a vertical datum that differs or hides a large offset.

    ``heights`` [rows, cols] lie on the reference's grid; ``grids`` are that which they came on and that of the
    reference; ``median`` is that of the residuals, metres.
    """
    evaluated, held = grids
    found = []
    east, north = estimated_shift(heights, reference, valid)
    gsd = held.gsd
    if np.hypot(east, north) > SHIFT_WARNING_PX * gsd:
        found.append(
            f"The evaluated DSM seems to lie {east / gsd:+.2f} px to the east and {north / gsd:+.2f} px to the north "
            f"of the reference ({east:+.2f} m, {north:+.2f} m); nothing was shifted."
        )
    datums = (evaluated.vertical, held.vertical)
    if "unknown" not in datums and datums[0] != datums[1]:
        found.append(f"The heights are above different datums: {datums[0]} and {datums[1]}.")
    elif "unknown" in datums and abs(median) > DATUM_WARNING_M:
        found.append(f"The median difference is {median:+.1f} m and a vertical datum is unknown: do the datums differ?")
    return found
