"""Curves of a training: CSV files that survive an interruption, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD = "tensorboard"


class CurveFile:
    """A CSV whose first column is ``step``; rows after the resumed step are dropped when it is opened."""

    def __init__(self, path: Path, resumed_step: int) -> None:
        """Keep rows up to ``resumed_step`` (0 starts anew)."""
        self.path = path
        self.columns: list[str] = []
        kept: list[dict[str, str]] = []
        if resumed_step and path.is_file():
            with path.open(newline="") as stream:
                reader = csv.DictReader(stream)
                kept = [row for row in reader if int(row["step"]) <= resumed_step]
                self.columns = list(reader.fieldnames or ())
        path.unlink(missing_ok=True)
        for row in kept:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; the first one fixes the columns."""
        is_new = not self.path.exists()
        self.columns = self.columns or list(row)
        with self.path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore")
            if is_new:
                writer.writeheader()
            writer.writerow(row)


def tensorboard_writer(
    folder: Path | None, wanted: bool, resumed_step: int = 0, name: str = ""
) -> SummaryWriter | None:
    """Return what writes TensorBoard's events to ``folder/tensorboard/name``; None if not wanted or not installed.

    Events after ``resumed_step`` are dropped where that is not 0.
    """
    if folder is None or not wanted or importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / TENSORBOARD / name), purge_step=resumed_step + 1 if resumed_step else None)


def duration(seconds: float) -> str:
    """Return ``seconds`` for people: ``42 s``, ``7 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
