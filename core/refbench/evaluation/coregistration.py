"""Coregistration of two DSMs on stable ground: the solver of ``shift_solver`` on cubic interpolation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from refbench.contracts.errors import InputError
from refbench.contracts.raster import DSM
from refbench.evaluation.coregistration_patches import Patches, patches_of, whole
from refbench.evaluation.shift_solver import Samples, nmad_of, residuals_at, solve_shift
from refbench.evaluation.surfaces import grid_of, in_memory, is_large, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.grid import Grid
    from refbench.evaluation.surfaces import AnyDSM, AnyMask

UNSTABLE = ("water", "forest")
"""Masks that are no stable ground."""


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


def coregister(to_align: AnyDSM, reference: AnyDSM, masks: Mapping[str, AnyMask] | None = None) -> Shift:
    """Return the shift that lays ``to_align`` on ``reference``.

    Parameters
    ----------
    to_align
        The DSM to move, or a source of one; in the CRS of the reference.
    reference
        The reference DSM, on any affine grid; slopes and samples are its own. Where one of the two is large, windows
        of both are read until they hold ``MAX_SAMPLES`` stable pixels.
    masks
        Class masks by name: what is water or forest takes no part.

    Raises
    ------
    InputError
        Grids of different CRS, or too little common ground with relief to tell a shift by.
    """
    grid = grid_of(reference)
    own = grid_of(to_align)
    if None not in (own.crs, grid.crs) and own.crs != grid.crs:
        raise InputError("Only DSMs of one CRS are coregistered; reproject one of them first.")
    unstable = {name: source_of(mask) for name, mask in (masks or {}).items() if name in UNSTABLE}
    if is_large(to_align, reference):
        patches = patches_of(source_of(to_align), source_of(reference), unstable)
    else:
        patches = [whole(in_memory(to_align), in_memory(reference), unstable)]
    samples, surface = Samples.joined([patch.samples for patch in patches]), Patches(patches)
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
