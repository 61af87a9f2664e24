"""``view_split.txt``: pairs of lines, a count and so many views; those to train on first, then those to test on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "view_split.txt"


def read_split(path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices to train on and to test on.

    Raises
    ------
    InputError
        Not two pairs of lines, or a count that is not that of its line.
    """
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        rows = [[int(word) for word in line] for line in lines]
    except ValueError as error:
        raise InputError(f"{path} holds something else than whole numbers: {error}.") from error
    if len(rows) != 4 or any(rows[place] != [len(rows[place + 1])] for place in (0, 2)):
        raise InputError(
            f"{path} must hold two pairs of lines: a count, and so many views; those to train on first, then those to "
            "test on."
        )
    return tuple(rows[1]), tuple(rows[3])


def write_split(path: Path, train: Sequence[int], test: Sequence[int]) -> None:
    """Write a split."""
    text = "".join(f"{len(of)}\n{' '.join(map(str, of))}\n" for of in (train, test))
    with atomic_file(path) as file:
        file.write(text.encode())
