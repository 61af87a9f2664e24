"""Rasters in memory: DSM, Image, Mask. NoData is NaN (heights) or False/255 (masks) here, a code only in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.errors import ArrayError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

MASK_UNKNOWN = 255


def _on_grid(name: str, shape: tuple[int, ...], grid: Grid) -> None:
    if shape != grid.shape:
        raise ArrayError(f"{name} has {shape[0]} x {shape[1]} rows and columns, its grid {grid.shape}.")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DSM:
    """A digital surface model: ``heights`` float32 [rows, cols] in metres, NaN where unknown, on a ``Grid``."""

    heights: NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        """Check type, shape and values; freeze the array."""
        check_shape("DSM heights", self.heights, "rows cols")
        if self.heights.dtype != np.float32:
            raise ArrayError(f"DSM heights must be float32 metres, got {self.heights.dtype}.")
        if np.isinf(self.heights).any():
            raise ArrayError("DSM heights must be finite or NaN; turn infinities into NaN when reading.")
        _on_grid("DSM", self.heights.shape, self.grid)
        object.__setattr__(self, "heights", frozen(self.heights))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where a height is known, bool [rows, cols]."""
        return np.isfinite(self.heights)

    def __repr__(self) -> str:
        """Return grid, NaN share and height range."""
        valid = self.valid
        span = f"{np.nanmin(self.heights):.2f} to {np.nanmax(self.heights):.2f} m" if valid.any() else "no height"
        return f"DSM({span}, {100 * (1 - valid.mean()):.1f} % NaN)\n  {self.grid!r}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Image:
    """Pixels [bands, rows, cols] of any number type, on a ``Grid`` (ortho) or in camera pixels (``grid`` None).

    ``valid`` is bool [rows, cols], True where every band holds data; None means everywhere.
    """

    pixels: NDArray[Any]
    grid: Grid | None = None
    band_names: tuple[str, ...] = ()
    valid: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check shapes; freeze the arrays."""
        check_shape("Image pixels", self.pixels, "bands rows cols")
        if self.band_names and len(self.band_names) != self.pixels.shape[0]:
            raise InputError(f"{len(self.band_names)} band names were given for {self.pixels.shape[0]} bands.")
        if self.grid is not None:
            _on_grid("Image", self.pixels.shape[1:], self.grid)
        if self.valid is not None:
            if self.valid.shape != self.pixels.shape[1:] or self.valid.dtype != np.bool_:
                raise InputError(f"An image's valid mask must be bool {self.pixels.shape[1:]}, got {self.valid.shape}.")
            object.__setattr__(self, "valid", frozen(self.valid))
        object.__setattr__(self, "pixels", frozen(self.pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def __repr__(self) -> str:
        """Return bands, type and grid."""
        bands, rows, cols = self.pixels.shape
        return f"Image({bands} bands, {rows} x {cols}, {self.pixels.dtype})\n  {self.grid!r}"


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A class mask: uint8 [rows, cols], 1 = class, 0 = not, ``MASK_UNKNOWN`` = unknown."""

    values: NDArray[np.uint8]
    grid: Grid | None = None
    name: str = field(default="mask")

    def __post_init__(self) -> None:
        """Check shape and values; freeze the array."""
        check_shape(f"Mask {self.name}", self.values, "rows cols")
        if self.values.dtype != np.uint8:
            raise InputError(f"Mask {self.name} must be uint8, got {self.values.dtype}.")
        if self.grid is not None:
            _on_grid(f"Mask {self.name}", self.values.shape, self.grid)
        object.__setattr__(self, "values", frozen(self.values))

    @property
    def is_class(self) -> NDArray[np.bool_]:
        """Where the class is present, bool [rows, cols]."""
        return np.equal(self.values, 1)

    @property
    def is_other(self) -> NDArray[np.bool_]:
        """Where the class is known to be absent, bool [rows, cols]."""
        return np.equal(self.values, 0)
