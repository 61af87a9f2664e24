"""Building masks as folders of official tile files, and their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench_pix2pix.footprints.mask_metrics import fraction_scores, mean_scores, sod_scores
from refbench_pix2pix.official.names import parse_tile_name
from refbench_pix2pix.official.tiles import grey, read_tile_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Grid

    Levels = NDArray[np.uint8]

REFERENCE_FOLDER = "building_footprints"
FOUND_FOLDER = "esfp_outputs"


def mask_files(folder: Path) -> dict[str, Path]:
    """Return name without suffix -> mask file of a folder, in the order of their names.

    Raises
    ------
    InputError
        There is no such folder, or no official tile in it.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {file.stem: file for file in files if parse_tile_name(file.name) is not None}
    if not found:
        raise InputError(f"{folder} holds no tiles; they are named 256-<x0>-<y0>.tif.")
    return found


def read_mask(path: Path) -> Levels:
    """Return the levels 0 to 255 of a mask file, uint8 [rows, cols]; raises ``InputError`` where it cannot be read."""
    return grey(read_tile_file(path))


def mosaic_of(folder: Path, grid: Grid) -> tuple[Levels, NDArray[np.bool_]]:
    """Return the masks of a folder on the grid of an official tile folder, and where there are any.

    Parameters
    ----------
    folder
        Mask files; a tile whose name says another place than the grid covers is left out.
    grid
        Of ``open_tile_folder``: a pixel of 1 m, x and -y of its upper-left corner are the mosaic's column and row.

    Returns
    -------
    tuple
        Levels uint8 [rows, cols], 0 or 255, and bool [rows, cols].

    Raises
    ------
    InputError
        There is no tile, one is damaged, or none lies on the grid.
    """
    levels, known = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.bool_)
    left, top = round(grid.transform.c), round(-grid.transform.f)
    for file in mask_files(folder).values():
        _, x, y = parse_tile_name(file.name) or (0, 0, 0)
        mask = read_mask(file)
        part = np.s_[y - top : y - top + mask.shape[0], x - left : x - left + mask.shape[1]]
        if y >= top and x >= left and levels[part].shape == mask.shape:
            levels[part], known[part] = mask, True
    if not known.any():
        raise InputError(f"No tile of {folder} lies on the grid of the DSM; their names say where they are.")
    return levels, known


def score_folders(found: Path, reference: Path) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the mean score of the masks that were found by key, and the names of the tiles.

    Parameters
    ----------
    found, reference
        Folders of masks with equal names, 0 and 255.

    Raises
    ------
    InputError
        A folder is empty, the names differ, a file is damaged, or two masks are of different sizes.
    """
    predicted, true = mask_files(found), mask_files(reference)
    if alone := sorted(predicted.keys() ^ true.keys()):
        raise InputError(f"{found} and {reference} hold different tiles: {', '.join(alone[:4])} is in one only.")
    scores: list[Mapping[str, float]] = []
    for name, file in predicted.items():
        masks = read_mask(file), read_mask(true[name])
        if masks[0].shape != masks[1].shape:
            raise InputError(f"{file} has {masks[0].shape} pixels and its reference {masks[1].shape}.")
        scores.append(fraction_scores(*masks) | sod_scores(*masks))
    return mean_scores(scores), tuple(predicted)
