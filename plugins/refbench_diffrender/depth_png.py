"""Depth maps and normals as 16-bit PNG codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = 0.001
"""Metres per code."""
HIGHEST = 65535


def depth_codes(depth: NDArray[np.floating], unit: float = UNIT, *, compat: bool = False) -> NDArray[np.uint16]:
    """Return depths in metres as codes; 0 is unknown.

    Parameters
    ----------
    depth
        Any shape; what is not finite or not positive is unknown.
    unit
        Metres per code.
    compat
        As published: cut off instead of rounded, and depths beyond the last code start from 0 again.

    Raises
    ------
    InputError
        A depth beyond the last code, unless ``compat``.
    """
    if compat:
        return (np.nan_to_num(depth.astype(np.float64)) / unit).astype(np.int64).astype(np.uint16)
    known = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float64)
    if (known > HIGHEST * unit).any():
        raise InputError(
            f"A depth of {known.max():.3f} m does not fit into 16 bits at {unit} m per code: write TIFF instead."
        )
    return np.rint(known / unit).astype(np.uint16)


def depths_of(codes: NDArray[np.uint16], unit: float = UNIT) -> NDArray[np.float32]:
    """Return the depths in metres of codes; 0 where unknown."""
    return (codes.astype(np.float64) * unit).astype(np.float32)


def normals_of_codes(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return normals in [-1, 1], float32 [3, rows, cols], of codes [rows, cols, 3]: red, green, blue are x, y, z."""
    return np.ascontiguousarray(np.moveaxis(codes.astype(np.float32) / HIGHEST * 2 - 1, -1, 0))


def shares_of_codes(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return certainties in [0, 1], float32 in the shape of ``codes``."""
    return codes.astype(np.float32) / np.float32(HIGHEST)
