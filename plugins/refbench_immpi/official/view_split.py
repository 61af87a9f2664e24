"""``view_split.txt``: pairs of lines, a count and so many views; those to train on first, then those to test on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "view_split.txt"


def write_split(path: Path, train: Sequence[int], test: Sequence[int]) -> None:
    """Write a split."""
    text = "".join(f"{len(of)}\n{' '.join(map(str, of))}\n" for of in (train, test))
    with atomic_file(path) as file:
        file.write(text.encode())
