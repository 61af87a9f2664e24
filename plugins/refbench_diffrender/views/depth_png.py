"""Depth maps and normals as 16-bit PNG codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

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
    """Return the depths in metres of codes; 0 where unknown. Any shape, such as [rows, cols], which stays."""
    return (codes.astype(np.float64) * unit).astype(np.float32)


def read_codes(path: Path, bands: int = 1) -> NDArray[np.uint16]:
    """Read a 16-bit image: [rows, cols], or [rows, cols, 3] with red first.

    Raises
    ------
    InputError
        No image, another number of bands, or not 16 bits.
    """
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError(f"{path} is missing or no image.")
    found = 1 if values.ndim == 2 else values.shape[2]
    if found != bands or values.dtype != np.uint16:
        raise InputError(
            f"{path} has {found} bands of {8 * values.dtype.itemsize} bits, expected {bands} of 16: write it as 16-bit "
            "PNG."
        )
    return values if bands == 1 else np.ascontiguousarray(values[..., ::-1])


def write_depth(path: Path, depth: NDArray[np.floating], unit: float = UNIT, *, compat: bool = False) -> Path:
    """Write a depth map [rows, cols] as 16-bit PNG, or as TIFF in metres where a depth does not fit; return the file.

    ``path`` ends with ``.png``. ``compat``: always PNG, see ``depth_codes``.
    """
    known = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
    if compat or known.max(initial=0) <= HIGHEST * unit:
        return write_pixels(path, depth_codes(depth, unit, compat=compat))
    return write_pixels(path.with_suffix(".tif"), known.astype(np.float32))


def write_pixels(path: Path, values: NDArray[np.generic]) -> Path:
    """Write an image [rows, cols] or [rows, cols, 3] with red first; return the file. Of levels, uint8 or uint16."""
    pixels = values if values.ndim == 2 else np.ascontiguousarray(values[..., ::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def codes_of_normals(normals: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return the codes [rows, cols, 3] of normals [3, rows, cols] in [-1, 1]."""
    fractions = np.moveaxis((np.clip(normals, -1, 1) + 1) / 2, 0, -1)
    return np.asarray(np.rint(fractions * HIGHEST), np.uint16)


def normals_of_codes(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return normals in [-1, 1], float32 [3, rows, cols], of codes [rows, cols, 3]: red, green, blue are x, y, z."""
    return np.ascontiguousarray(np.moveaxis(codes.astype(np.float32) / HIGHEST * 2 - 1, -1, 0))


def fractions_of_codes(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return certainties in [0, 1], float32 in the shape of ``codes``."""
    return codes.astype(np.float32) / np.float32(HIGHEST)
