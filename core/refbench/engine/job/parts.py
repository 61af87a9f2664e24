"""Parts of a whole for job arrays: which jobs of a sweep, which rows of a raster belong to the I-th of N."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHARDS, REGIONS = "shards", "regions"
"""Kinds of parts; those of the sweep or run ``OUT`` lie in ``OUT.shards`` or ``OUT.regions``."""
_NAME = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """The ``index``-th of ``of`` parts, counted from 0."""

    index: int
    of: int

    def __post_init__(self) -> None:
        """Refuse what is no part.

        Raises
        ------
        InputError
            ``of`` is below 1, or ``index`` not in [0, of).
        """
        if self.of < 1:
            raise InputError(f"--of {self.of} makes no parts; give at least 1.")
        if not 0 <= self.index < self.of:
            raise InputError(
                f"--index {self.index} is none of {self.of} parts: they are counted from 0 to {self.of - 1}."
            )

    @property
    def name(self) -> str:
        """Name of the part's folder; names sort as the parts do."""
        return f"{self.index:0{len(str(self.of - 1))}d}-of-{self.of}"

    def folder(self, out: Path, kind: str) -> Path:
        """Return the folder of this part of the sweep or run ``out``."""
        return parts_folder(out, kind) / self.name

    def take(self, ids: Sequence[str]) -> list[int]:
        """Return the positions of this part's names among ``ids``, ascending."""
        return [position for position, part in enumerate(assigned(ids, self.of)) if part == self.index]

    def rows(self, height: int) -> tuple[int, int]:
        """Return first row and end of this part of a raster of ``height`` rows: parts differ by at most one row.

        Raises
        ------
        InputError
            There are fewer rows than parts.
        """
        if self.of > height:
            raise InputError(
                f"A raster of {height} rows cannot be cut into {self.of} regions; give --of {height} or less."
            )
        return height * self.index // self.of, height * (self.index + 1) // self.of


def assigned(ids: Sequence[str], of: int) -> list[int]:
    """Return the part in [0, of) of each name: names in the order of their SHA-256 are dealt out one by one.

    So parts hold equally many, to one, and what is alike (all jobs of the slow method, all on the large scene) is
    spread, on every machine in the same way.
    """
    order = sorted(range(len(ids)), key=lambda position: hashlib.sha256(ids[position].encode()).digest())
    parts = [0] * len(ids)
    for rank, position in enumerate(order):
        parts[position] = rank % of
    return parts


def parts_folder(out: Path, kind: str) -> Path:
    """Return the folder beside ``out`` that holds its parts."""
    return out.with_name(f"{out.name}.{kind}")


def part_of(folder: Path) -> Part | None:
    """Return which part a folder is by its name; None where it is none."""
    found = _NAME.fullmatch(folder.name)
    if found is None or not int(found[1]) < int(found[2]):
        return None
    return Part(int(found[1]), int(found[2]))


def find_parts(out: Path, kind: str) -> list[Path]:
    """Return the folders of the parts of ``out``, in order.

    Raises
    ------
    MissingFileError
        There are none.
    """
    folder = parts_folder(out, kind)
    found = sorted(path for path in folder.iterdir() if part_of(path) is not None) if folder.is_dir() else []
    if not found:
        raise MissingFileError(f"There are no {kind} of {out}: {folder} holds none.")
    return found
