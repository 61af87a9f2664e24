"""A shift of a DSM: what coregistration finds, and what moves a DSM by it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from refbench.contracts.raster import DSM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.grid import Grid


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
