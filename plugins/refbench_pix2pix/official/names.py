"""Names of official tiles, for recognising their folders; imports nothing heavy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TILE_NAME = re.compile(r"(?P<size>\d+)-(?P<x>\d+)-(?P<y>\d+)\.tiff?")


def tile_name(size: int, x: int, y: int) -> str:
    """Return the name of the tile whose first column is ``x`` and first row ``y``."""
    return f"{size}-{x}-{y}.tif"


def parse_tile_name(name: str) -> tuple[int, int, int] | None:
    """Return (size, first column, first row), None where ``name`` is no tile's."""
    match = TILE_NAME.fullmatch(name)
    return None if match is None else (int(match["size"]), int(match["x"]), int(match["y"]))


def is_tile_folder(path: Path) -> bool:
    """Return whether a folder holds official tiles, by the names in it."""
    return path.is_dir() and any(parse_tile_name(file.name) is not None for file in path.iterdir())
