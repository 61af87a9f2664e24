"""Coregistration of two DSMs on stable ground: the solver of ``shift_solver`` on cubic interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.evaluation.coregistration_patches import Patches, patches_of, whole
from refbench.evaluation.shift import Shift
from refbench.evaluation.shift_solver import Samples, nmad_of, residuals_at, solve_shift
from refbench.evaluation.surfaces import grid_of, in_memory, is_large, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.evaluation.surfaces import AnyDSM, AnyMask

UNSTABLE = ("water", "forest")
"""Masks that are no stable ground."""


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
