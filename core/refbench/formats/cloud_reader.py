"""What every reader of a point cloud file offers: a header that was checked, and points in chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.formats.crs import SplitCRS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from refbench.contracts.grid import Bounds
    from refbench.formats.cloud_index import Arrays

CHUNK_POINTS = 1_000_000


class CloudReader(ABC):
    """One point cloud file: ``count``, ``bounds`` (None where only reading tells) and ``crs`` from its header.

    ``unit`` is that of all three coordinates where the file says one, ``crs.height_unit`` that of the heights alone.
    ``notes`` are sentences about the header that the user should read.
    """

    path: Path
    count: int
    bounds: Bounds | None = None
    crs: SplitCRS = SplitCRS(None)
    unit: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (self.path,)

    @abstractmethod
    def chunks(self) -> Iterator[Arrays]:
        """Yield the points as they stand in the file, xyz float64 and maybe not finite.

        A chunk may hold ``withheld``, bool [N], beside the arrays of a cloud.
        """

    def _damaged(self, error: BaseException | str) -> InputError:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return InputError(f"{self.path} cannot be read as a point cloud: {reason[:300]}.")
