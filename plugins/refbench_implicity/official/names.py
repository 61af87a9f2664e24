"""File names of official data sets; imports nothing heavy, so that folders can be recognised at no cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_INFO = "chunk_info.yaml"


def is_chunk_folder(path: Path) -> bool:
    """Return whether a folder is an official chunk data set, by its names."""
    return (path / CHUNK_INFO).is_file()


LAND_TYPES = ("overall", "building", "forest", "water", "terrain", "terrain_wo_water", "terrain_wo_forest")
"""What the official evaluation tells apart, in the order of its report."""
STATISTICS = {
    "max": "largest residual",
    "min": "smallest residual",
    "MAE": "mean absolute residual",
    "RMSE": "root of the mean squared residual",
    "abs_median": "median absolute residual",
    "median": "median residual",
    "n_pixel": "pixels",
    "NMAD": "1.4826 times the median distance of residuals from abs_median",
}
"""Official statistics of a land type, and what each is."""
ERRORS = ("MAE", "RMSE", "abs_median", "NMAD")
"""Statistics of which less is better."""
