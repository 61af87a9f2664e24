"""What a scene is made of, brought to its CRS and its grid: resampled where a file lies elsewhere, and said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from refbench.contracts.errors import GridMismatchError
from refbench.contracts.grid import GRID_TOLERANCE_PX, Grid
from refbench.contracts.raster import DSM, Image, Mask
from refbench.formats.crs import crs_title, parse_crs, require_metric
from refbench.formats.utm import OWN
from refbench.formats.warped import KERNELS, Warped, check_kernel
from refbench.geometry.crs_map import mapped_box

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasterio.crs import CRS

    from refbench.contracts.grid import Bounds
    from refbench.formats.raster import DSMFile, ImageFile, MaskFile

    DSMs = DSMFile | Warped[DSM]
    Images = ImageFile | Warped[Image]
    Masks = MaskFile | Warped[Mask]

S = TypeVar("S", "DSMFile | Warped[DSM]", "ImageFile | Warped[Image]", "MaskFile | Warped[Mask]")

NEAREST = "nearest"
"""The kernel of masks."""
SAME_SIZE = 1e-6
"""Pixel sizes that differ by less than this, relatively, are one."""


def parse_target(text: str | None) -> CRS | str | None:
    """Return what ``--target-crs`` names: ``own``, or a CRS in metres.

    Raises
    ------
    InputError
        It is no CRS, or not in metres.
    """
    if text is None or text == OWN:
        return text
    return require_metric("target_crs", parse_crs(text, "target_crs"))


def scene_kernel(name: str) -> str:
    """Return the kernel for files of a scene: GDAL's own, which scoring may use, give way to the one of their name."""
    plain = check_kernel(name).removeprefix("gdal_")
    return plain if plain in KERNELS else "auto"


@dataclass(slots=True)
class Aligner:
    """Brings sources to the grid of a scene. ``anchor`` names it in messages; ``notes`` collects what was done."""

    grid: Grid | None
    anchor: str
    kernel: str = "auto"
    notes: list[str] = field(default_factory=list)

    def onto(self, source: S, kernel: str | None = None) -> S:
        """Return a source on the scene's grid: itself where it lies there, else resampled.

        Raises
        ------
        GridMismatchError
            It has no geotransform and another size, or does not overlap the grid.
        """
        grid = self.grid
        if grid is None:
            return source
        path = source.files[0]
        if source.grid is None:
            raise GridMismatchError(f"{path} has no geotransform; it must lie on {self.anchor}.")
        if source.grid == grid:
            return source
        self._check_overlap(source)
        return self._warped(source, grid, kernel or self.kernel, how_they_differ(source.grid, grid))

    def orthos(self, orthos: Mapping[str, Images]) -> dict[str, Images]:
        """Return orthos in the scene's CRS and on its lattice; another pixel size or crop is left as it is.

        What has to be resampled keeps about its pixels: the scene's grid is divided by a whole number.
        """
        if self.grid is None:
            return dict(orthos)
        moved = {name: reason for name, ortho in orthos.items() if (reason := self._off_lattice(ortho))}
        finest = max((self._division(orthos[name]) for name in moved), default=1)
        target = divided(self.grid, finest)
        return {
            name: self._warped(ortho, target, self.kernel, moved[name]) if name in moved else ortho
            for name, ortho in orthos.items()
        }

    def _off_lattice(self, ortho: Images) -> str:
        """Return why an ortho cannot be used as it lies; empty where it can."""
        mine, grid = ortho.grid, self.grid
        assert grid is not None  # the caller looked
        assert mine is not None  # orthos have one
        self._check_overlap(ortho)
        if mine.crs is not None and grid.crs is not None and mine.crs != grid.crs:
            return how_they_differ(mine, grid)
        if max(abs(m / g - 1) for m, g in zip(mine.resolution, grid.resolution, strict=True)) > SAME_SIZE:
            return ""
        col, row = ~grid.transform @ (mine.transform.c, mine.transform.f)
        shift = math.hypot(col - round(col), row - round(row))
        return f"shifted by {shift:.3g} px" if shift > GRID_TOLERANCE_PX else ""

    def _division(self, ortho: Images) -> int:
        """Return into how many parts a side of the scene's pixels is cut for an ortho."""
        assert self.grid is not None  # the callers looked
        assert ortho.grid is not None
        finer = Warped[Image](ortho, self.grid).pixels_per_pixel
        return max(1, round(finer))

    def _warped(self, source: S, target: Grid, kernel: str, why: str) -> S:
        inner = source.source if isinstance(source, Warped) else source
        warped = Warped(inner, target, kernel)
        self.notes.append(f"{source.files[0]}: resampled onto {self.anchor} ({why}) by {warped.kernel_used}.")
        return warped

    def _check_overlap(self, source: S) -> None:
        mine, grid = source.grid, self.grid
        assert grid is not None  # the callers looked
        assert mine is not None
        here, there, crs = mine.bounds, grid.bounds, ""
        if mine.crs is not None and grid.crs is not None and mine.crs != grid.crs:
            there = mapped_box(grid.crs, mine.crs, grid.bounds)
            crs = f" ({crs_title(mine.crs)} against {crs_title(grid.crs)})"
        if not overlap(here, there, 360.0 if mine.crs is not None and mine.crs.is_geographic else None):
            raise GridMismatchError(f"{source.files[0]} does not overlap {self.anchor}{crs}.")


def overlap(a: Bounds, b: Bounds, turn: float | None = None) -> bool:
    """Return whether two rectangles share ground; ``turn``: x repeats after so much (degrees of longitude)."""
    if a.south >= b.north or a.north <= b.south:
        return False
    if not all(map(math.isfinite, (b.west, b.east))):
        return False
    shifts = (0.0,) if turn is None else (-turn, 0.0, turn)
    return any(a.west < b.east + shift and a.east > b.west + shift for shift in shifts)


def how_they_differ(mine: Grid, grid: Grid) -> str:
    """Return in what two grids differ, the most telling alone: the CRS, the pixel size, else size and corners."""
    if mine.crs is not None and grid.crs is not None and mine.crs != grid.crs:
        return f"CRS {crs_title(mine.crs)} against {crs_title(grid.crs)}"
    if abs(mine.gsd / grid.gsd - 1) > SAME_SIZE:
        return f"pixels of {mine.gsd:.4g} m against {grid.gsd:.4g} m"
    return ", ".join(grid.differences(mine))


def divided(grid: Grid, parts: int) -> Grid:
    """Return a grid with each side of its pixels cut into ``parts``."""
    if parts == 1:
        return grid
    transform = grid.transform @ grid.transform.scale(1 / parts)
    return replace(grid, width=grid.width * parts, height=grid.height * parts, transform=transform)
