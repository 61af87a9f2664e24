"""Official tiles: 8-bit RGB files with two halves, and how they become network values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from refbench.contracts.errors import InputError
from refbench_pix2pix.values import DSM_MIDDLE, NDVI_MIDDLE, levels_of, normalise_levels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MULTIPLE = 4
"""Halves whose sides are no multiples of this are resampled, as published."""
LUMA = (19595, 38470, 7471)


def read_pair(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return DSM and NDVI as network values [rows, cols] of a tile file's pixels [rows, 2 cols, 3]."""
    half = rgb.shape[1] // 2
    parts = (_sized(grey(rgb[:, :half])), _sized(grey(rgb[:, half:])))
    if parts[0].shape != parts[1].shape:
        raise InputError(f"The halves of a tile must be of one size, got {parts[0].shape} and {parts[1].shape}.")
    return normalise_levels(parts[0], DSM_MIDDLE), normalise_levels(parts[1], NDVI_MIDDLE)


def grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma [rows, cols] of an image [rows, cols, 3]; equal channels stay as they are."""
    values = rgb.astype(np.int64)
    weighted = sum(values[..., band] * factor for band, factor in enumerate(LUMA))
    return np.asarray((weighted + 32768) >> 16, np.uint8)


def _sized(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image with sides that are multiples of four, by bicubic resampling where they are not."""
    rows, cols = (round(side / MULTIPLE) * MULTIPLE for side in values.shape)
    if (rows, cols) == values.shape:
        return values
    return np.asarray(Image.fromarray(values).resize((cols, rows), Image.Resampling.BICUBIC))


def to_rgb(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return the pixels [rows, cols, 3] of a file of network outputs [rows, cols], truncated to whole levels."""
    return np.repeat(np.floor(levels_of(values)).astype(np.uint8)[..., None], 3, axis=2)


def read_tile_file(path: Path) -> NDArray[np.uint8]:
    """Return the pixels [rows, cols, 3] of a tile file.

    Raises
    ------
    InputError
        The file is missing, damaged or not of 8 bits.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("RGB", "L", "RGBA", "P"):
                raise InputError(f"{path} is not an 8-bit image but of mode {image.mode}; use the float path instead.")
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"The tile {path} cannot be read: {error}.") from error
