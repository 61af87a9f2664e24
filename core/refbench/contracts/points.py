"""Point clouds: float64 world coordinates, so that nothing is lost in UTM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PointCloud:
    """``xyz`` float64 [N, 3], x east, y north, z up, metres in ``crs``; N may be 0.

    ``colour`` is [N, 3] of any number type, ``intensity`` [N], ``classes`` uint8 [N] (LAS codes).
    """

    xyz: NDArray[np.float64]
    crs: CRS | None = None
    vertical: str = "unknown"
    colour: NDArray[Any] | None = None
    intensity: NDArray[Any] | None = None
    classes: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Check shapes and values; freeze the arrays."""
        count = check_shape("Point coordinates", self.xyz, "N 3")["N"]
        if self.xyz.dtype != np.float64:
            raise InputError(f"Point coordinates must be float64, got {self.xyz.dtype}.")
        if not np.isfinite(self.xyz).all():
            raise InputError("Point coordinates must be finite; drop the others when reading.")
        object.__setattr__(self, "xyz", frozen(self.xyz))
        for name in ("colour", "intensity", "classes"):
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape[0] != count:
                raise InputError(f"Point {name} has {array.shape[0]} rows for {count} points.")
            object.__setattr__(self, name, frozen(array))

    def __len__(self) -> int:
        """Return the number of points."""
        return int(self.xyz.shape[0])

    def where(self, keep: NDArray[np.bool_]) -> PointCloud:
        """Return the points where ``keep``, bool [N], is True."""
        part = {n: None if (a := getattr(self, n)) is None else a[keep] for n in ("colour", "intensity", "classes")}
        return PointCloud(self.xyz[keep], self.crs, self.vertical, **part)

    def __repr__(self) -> str:
        """Return count, CRS and extent."""
        crs = self.crs.to_string() if self.crs is not None else "no CRS"
        if not len(self):
            return f"PointCloud(0 points in {crs})"
        low, high = self.xyz.min(axis=0), self.xyz.max(axis=0)
        return f"PointCloud({len(self):,} points in {crs}, {low.round(2).tolist()} to {high.round(2).tolist()})"
