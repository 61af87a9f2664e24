"""A scene: whatever there is of a place. Nothing is read before it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import UnsupportedError
from refbench.contracts.need import Need

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.raster import DSM, Image, Mask
    from refbench.contracts.source import PointSource, RasterSource


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An image and its camera. ``depth`` is z in scene units (a DSM-typed source without grid semantics), or None.

    ``depth_range``: nearest and farthest depth that the view may hold, scene units, where its file says so.
    ``acquired``: when the image was taken (UTC), where its file says so.
    ``tie_points``: float64 [N, 3], those of the scene's points that were matched in this view, where that is known.
    """

    name: str
    image: RasterSource[Image]
    camera: Camera
    depth: RasterSource[Image] | None = None
    mask: RasterSource[Mask] | None = None
    depth_range: tuple[float, float] | None = None
    tie_points: NDArray[np.float64] | None = None
    acquired: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The reference of a scene. The engine takes it away before a method sees the scene."""

    dsm: RasterSource[DSM] | None = None
    mask: RasterSource[Mask] | None = None
    depths: Mapping[str, RasterSource[Image]] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Any of: grid, initial DSM, points, orthos and pairs, NDVI, views; masks; layers; a reference.

    ``layers`` are rasters of one band on the grid that say how well the initial heights are known: ``sigma`` is their
    standard deviation in metres, any other is what its pipeline calls so (confidence, ambiguity, correlation).
    ``areas`` are rectangles of the grid: only they are refined; empty stands for the whole grid.
    ``origin`` (x, y, z) in metres is what float32 coordinates are relative to. ``warnings`` are sentences for the
    user (NoData repaired, feet converted); ``bridges`` name the conversions that made what the files did not hold.
    """

    id: str
    grid: Grid | None = None
    dsm: RasterSource[DSM] | None = None
    points: PointSource | None = None
    orthos: Mapping[str, RasterSource[Image]] = field(default_factory=_empty)
    pairs: tuple[tuple[str, ...], ...] = ()
    ndvi: RasterSource[Image] | None = None
    views: Mapping[str, View] = field(default_factory=_empty)
    masks: Mapping[str, RasterSource[Mask]] = field(default_factory=_empty)
    reference: Reference | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    vertical: str = "unknown"
    folder: Path | None = None
    warnings: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    areas: tuple[Window, ...] = ()
    layers: Mapping[str, RasterSource[Image]] = field(default_factory=_empty)

    def has(self, need: Need) -> bool:
        """Return whether the scene holds ``need`` itself, without any bridge."""
        held: dict[Need, bool] = {
            Need.GRID: self.grid is not None,
            Need.DSM: self.dsm is not None,
            Need.POINTS: self.points is not None,
            Need.ORTHO: len(self.orthos) >= 1,
            Need.ORTHO_PAIR: bool(self.pairs) or len(self.orthos) >= 2,
            Need.NDVI: self.ndvi is not None,
            Need.VIEWS: len(self.views) >= 2,
            Need.DEPTHS: any(view.depth is not None for view in self.views.values()),
        }
        return held[need]

    def require(self, need: Need) -> None:
        """Check that ``need`` is there; the engine has already bridged what the method's record lists.

        Raises
        ------
        UnsupportedError
            The scene does not hold it.
        """
        if not self.has(need):
            raise UnsupportedError(f"Scene {self.id} has no {need.value.replace('_', ' ')}.")

    def require_grid(self) -> Grid:
        """Return the grid; raises ``UnsupportedError`` where the scene has none."""
        if self.grid is None:
            raise UnsupportedError(f"Scene {self.id} has no grid; give its pixel size with --gsd, or a DSM with --dsm.")
        return self.grid

    def without_reference(self) -> Scene:
        """Return the scene as a method may see it: no reference, no masks made from it."""
        return replace(self, reference=None)
