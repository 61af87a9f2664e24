"""Several point cloud files as one source: the points of one after those of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.contracts.grid import Bounds
from refbench.contracts.points import PointCloud
from refbench.formats.cloud import BUDGET_BYTES, PointFile, open_points
from refbench.formats.cloud_write import as_uint16

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.crs import CRS


class JoinedPoints:
    """Files read as one cloud. They have one CRS and one vertical datum; those that name none take that of the rest."""

    def __init__(self, parts: Sequence[PointFile]) -> None:
        """Join opened files.

        Raises
        ------
        GridMismatchError
            Two of them name different CRSs.
        InputError
            Two of them name different vertical datums, or one file is given twice.
        """
        self._parts = tuple(parts)
        paths = [part.files[0].resolve() for part in parts]
        for path in paths:
            if paths.count(path) > 1:
                raise InputError(f"The point cloud {path} is given twice; give it once.")
        known = [part for part in parts if part.crs is not None]
        for part in known[1:]:
            if part.crs != known[0].crs:
                raise GridMismatchError(
                    f"{part.files[0]} is in {_name(part.crs)}, but {known[0].files[0]} is in {_name(known[0].crs)}; "
                    "reproject one of them."
                )
        named = [part for part in parts if part.vertical != "unknown"]
        for part in named[1:]:
            if part.vertical != named[0].vertical:
                raise InputError(
                    f"{part.files[0]} has the vertical datum {part.vertical}, but {named[0].files[0]} has "
                    f"{named[0].vertical}; transform one of them."
                )
        self.crs = known[0].crs if known else None
        self.vertical = named[0].vertical if named else "unknown"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in the order they were given."""
        return tuple(path for part in self._parts for path in part.files)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all files."""
        return tuple(note for part in self._parts for note in part.warnings)

    def check(self) -> None:
        """Read every file once; see ``PointFile.check``."""
        for part in self._parts:
            part.check()

    def bounds(self) -> Bounds:
        """Return the rectangle around the points of all files."""
        boxes = [part.bounds() for part in self._parts]
        return Bounds(
            min(box.west for box in boxes), min(box.south for box in boxes),
            max(box.east for box in boxes), max(box.north for box in boxes),
        )  # fmt: skip

    def count(self) -> int:
        """Return the number of points of all files."""
        return sum(part.count() for part in self._parts)

    def read(self, bounds: Bounds | None = None) -> PointCloud:
        """Return all points or those in a rectangle; colour, intensity and classes where all files have them."""
        clouds = [part.read(bounds) for part in self._parts]
        if any(len(cloud) for cloud in clouds):
            clouds = [cloud for cloud in clouds if len(cloud)]
        attributes: dict[str, Any] = {name: _joined(clouds, name) for name in ("colour", "intensity", "classes")}
        return PointCloud(np.concatenate([cloud.xyz for cloud in clouds]), self.crs, self.vertical, **attributes)


def _joined(clouds: Sequence[PointCloud], name: str) -> NDArray[Any] | None:
    """Return one attribute of all clouds; colours of different types become LAS's 16 bits."""
    arrays = [getattr(cloud, name) for cloud in clouds]
    if any(array is None for array in arrays):
        return None
    if name == "colour" and len({array.dtype for array in arrays}) > 1:
        arrays = [as_uint16(array) for array in arrays]
    return np.concatenate(arrays)


def _name(crs: CRS | None) -> str:
    return "no CRS" if crs is None else str(crs.to_string())


def open_clouds(
    paths: Sequence[Path],
    *,
    target: CRS | str | None = None,
    **declared: Any,  # noqa: ANN401  # of open_points
) -> PointFile | JoinedPoints:
    """Open one file as it is, several as one cloud; ``declared`` are keywords of ``open_points``.

    Without a ``target`` all come to the CRS in metres of the first that has one.

    Raises
    ------
    InputError
        See ``open_points`` and ``JoinedPoints``.
    """
    budget = BUDGET_BYTES // len(paths)
    parts: list[PointFile] = []
    for path in paths:
        parts.append(open_points(path, budget_bytes=budget, target=target, **declared))
        if target in (None, "own"):
            target = parts[-1].crs or target
    return parts[0] if len(parts) == 1 else JoinedPoints(parts)
