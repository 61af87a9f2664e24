"""File names of official data sets; imports nothing heavy, so that folders can be recognised at no cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_INFO = "chunk_info.yaml"


def is_chunk_folder(path: Path) -> bool:
    """Return whether a folder is an official chunk data set, by its names."""
    return (path / CHUNK_INFO).is_file()
