"""Depth maps from files of any origin: TIFF, NumPy, PFM and 16-bit PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.contracts.errors import InputError, MissingFileError
from refbench.formats.raster import open_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".tif", ".tiff", ".npy", ".pfm", ".png")
ASPECT_TOLERANCE = 0.02


def read_depth(folder: Path, name: str, shape: tuple[int, int], unit: float) -> NDArray[np.float64]:
    """Return the depth map ``<folder>/<name>.*`` in the size of an image.

    Parameters
    ----------
    folder, name
        Where it lies, and the name of the view.
    shape
        (rows, cols) of the image; a map of another size takes the nearest pixel.
    unit
        Value of an integer code of a PNG; 0 is unknown there.

    Returns
    -------
    float64 [rows, cols], NaN where unknown.

    Raises
    ------
    MissingFileError
        There is no such file.
    InputError
        It cannot be read, has 8 bits, another aspect ratio or no finite value.
    """
    path = next((folder / f"{name}{end}" for end in SUFFIXES if (folder / f"{name}{end}").is_file()), None)
    if path is None:
        raise MissingFileError(
            f"View {name} has no depth map {folder / name}{'|'.join(SUFFIXES)}; check initial_depths or take another "
            "initial."
        )
    values = np.asarray(_VALUES[path.suffix](path))
    if values.ndim != 2:
        raise InputError(f"{path} must hold one depth per pixel, got an array of shape {values.shape}.")
    if values.dtype.itemsize == 1:
        raise InputError(f"{path} has 8 bits per pixel, too few for depths: write 16-bit PNG or float TIFF.")
    depth = values.astype(np.float64)
    if path.suffix == ".png":
        depth = np.where(values == 0, np.nan, depth * unit)
    depth[~np.isfinite(depth)] = np.nan
    if np.isnan(depth).all():
        raise InputError(f"{path} holds no finite depth.")
    rows, cols = depth.shape
    if abs(cols * shape[0] / (rows * shape[1]) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"{path} has {cols} x {rows} px, another aspect ratio than its image of {shape[1]} x {shape[0]} px: it "
            "must cover the whole image."
        )
    return depth if depth.shape == shape else cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_NEAREST)


def _tiff(path: Path) -> NDArray[np.generic]:
    image = open_image(path, in_camera=True).read()
    pixels = image.pixels[0] if len(image.pixels) == 1 else image.pixels
    if image.valid is None or pixels.dtype.itemsize == 1:
        return pixels
    return np.where(image.valid, pixels.astype(np.float64), np.nan)


def _numpy(path: Path) -> NDArray[np.generic]:
    try:
        found = np.load(path, allow_pickle=False)
        return np.asarray(found).squeeze()
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy array: {error}.") from error


def _opencv(path: Path) -> NDArray[np.generic]:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise InputError(f"{path} cannot be read as an image.")
    return np.asarray(found)


_VALUES = {".tif": _tiff, ".tiff": _tiff, ".npy": _numpy, ".pfm": _opencv, ".png": _opencv}
