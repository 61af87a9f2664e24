"""Official tiles: 8-bit RGB files with two halves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MULTIPLE = 4
"""Halves whose sides are no multiples of this are resampled, as published."""
LUMA = (19595, 38470, 7471)


def halves(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the levels of DSM and NDVI [rows, cols] of a tile file's pixels [rows, 2 cols, 3]."""
    half = rgb.shape[1] // 2
    return _sized(grey(rgb[:, :half])), _sized(grey(rgb[:, half:]))


def _sized(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the levels with sides that are multiples of four, by bicubic resampling where they are not."""
    rows, cols = (round(side / MULTIPLE) * MULTIPLE for side in levels.shape)
    if (rows, cols) == levels.shape:
        return levels
    return np.asarray(Image.fromarray(levels).resize((cols, rows), Image.Resampling.BICUBIC))


def grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma [rows, cols] of an image [rows, cols, 3]; equal channels stay as they are. Levels, uint8."""
    values = rgb.astype(np.int64)
    # Pillow's own weights of red, green and blue, in units of 2^-16, rounded.
    weighted = sum(values[..., band] * factor for band, factor in enumerate(LUMA))
    return np.asarray((weighted + 32768) >> 16, np.uint8)


def as_rgb(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels [rows, cols, 3] of a file of whole levels [rows, cols]."""
    return np.repeat(levels[..., None], 3, axis=2)


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
