"""Images for people: PNG with an alpha channel where nothing is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LEVELS = 255


def write_image(path: str | Path, image: NDArray[np.float32]) -> None:
    """Write an image as PNG of 8 bits, rounded to nearest.

    Parameters
    ----------
    path
        The file.
    image
        [1 or 3, rows, cols], in [0, 1] (what lies outside is clipped); NaN is transparent.

    Raises
    ------
    InputError
        Another number of bands, or a file that cannot be written.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise InputError(f"An image has one or three bands [bands, rows, cols], got shape {image.shape}.")
    known = np.isfinite(image).all(axis=0)
    levels = np.rint(np.clip(np.nan_to_num(image), 0, 1) * LEVELS).astype(np.uint8)
    pixels: NDArray[Any] = np.moveaxis(np.broadcast_to(levels, (3, *levels.shape[1:])), 0, -1)[..., ::-1]
    if not known.all():
        pixels = np.concatenate([pixels, np.where(known, LEVELS, 0).astype(np.uint8)[..., None]], axis=-1)
    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise InputError(f"{path} cannot be written as PNG.")
    with atomic_file(path) as file:
        file.write(data.tobytes())
