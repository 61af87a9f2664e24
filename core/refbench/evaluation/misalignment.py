"""Signs that two surfaces do not belong on top of each other: a shift in the plane, another vertical datum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

SHIFT_WARNING_PX = 0.25
DATUM_WARNING_M = 5.0
SAMPLES = 200_000
_ROUNDS, _CLIP = 3, 2.5


def estimated_shift(
    residuals: Floats, gradient: tuple[Floats, Floats], valid: Bools, gsd: float
) -> tuple[float, float]:
    """Return how far the evaluated surface lies to the east and north of the reference, in pixels.

    A surface moved by s has residuals -s . gradient + c; s is the least-squares solution after outliers beyond 2.5
    robust sigmas were dropped three times. It is a warning light, not a coregistration: (0, 0) where the reference has
    no relief to tell by.

    Parameters
    ----------
    residuals
        Evaluated minus reference, metres [rows, cols].
    gradient
        dz/dx and dz/dy of the reference, [rows, cols] each.
    valid
        Where both heights count.
    gsd
        Pixel in metres.
    """
    step = max(1, round(float(np.sqrt(valid.size / SAMPLES))))
    thin = np.s_[::step, ::step]
    p, q = gradient[0][thin], gradient[1][thin]
    where = valid[thin] & np.isfinite(p) & np.isfinite(q)
    e = residuals[thin][where]
    design = np.column_stack([p[where], q[where], np.ones(e.size)])
    solution: NDArray[Any] = np.zeros(3)
    for _ in range(_ROUNDS):
        if e.size < 100:
            return 0.0, 0.0
        rest = e - design @ solution
        rest -= np.median(rest)
        keep = np.abs(rest) <= _CLIP * max(1.4826 * float(np.median(np.abs(rest))), 1e-6)
        design, e = design[keep], e[keep]
        solution, _, rank, _ = np.linalg.lstsq(design, e, rcond=1e-6)
        if rank < 3:
            return 0.0, 0.0
    return float(-solution[0] / gsd), float(-solution[1] / gsd)


def misalignment_warnings(
    residuals: Floats, gradient: tuple[Floats, Floats], valid: Bools, grids: tuple[Grid, Grid], median: float
) -> list[str]:
    """Return sentences on a shift above 0.25 px and on a vertical datum that differs or hides a large offset.

    ``grids`` are those of the evaluated DSM and of the reference, ``median`` is that of the residuals, metres.
    """
    evaluated, reference = grids
    found = []
    east, north = estimated_shift(residuals, gradient, valid, reference.gsd)
    if np.hypot(east, north) > SHIFT_WARNING_PX:
        found.append(
            f"The evaluated DSM seems to lie {east:+.2f} px to the east and {north:+.2f} px to the north of the "
            "reference; nothing was shifted."
        )
    datums = (evaluated.vertical, reference.vertical)
    if "unknown" not in datums and datums[0] != datums[1]:
        found.append(f"The heights are above different datums: {datums[0]} and {datums[1]}.")
    elif "unknown" in datums and abs(median) > DATUM_WARNING_M:
        found.append(f"The median difference is {median:+.1f} m and a vertical datum is unknown: do the datums differ?")
    return found
