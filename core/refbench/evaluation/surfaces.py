"""What is scored may lie in memory or in files: one is turned into the other here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from refbench.contracts.raster import DSM, Image, Mask
from refbench.evaluation.grids import KERNEL, check_metric
from refbench.evaluation.streaming.sources import HELD_BYTES, dsm_on, held, mask_on
from refbench.evaluation.streaming.tiles import Rasters
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.grid import Grid
    from refbench.contracts.source import RasterSource

    AnyDSM = DSM | RasterSource[DSM]
    AnyMask = Mask | RasterSource[Mask]

T = TypeVar("T", DSM, Image, Mask)
EXACT_PIXELS = 1 << 20
"""Rasters up to this size are scored in memory, from all their residuals; larger ones by tiles (``streaming``). It does
not depend on the memory that there is, so neither do the numbers."""


def in_memory(raster: T | RasterSource[T]) -> T:
    """Return a raster itself, or what a source reads."""
    return raster if isinstance(raster, (DSM, Image, Mask)) else raster.read()


def source_of(raster: T | RasterSource[T]) -> RasterSource[T]:
    """Return a source itself, or one that holds the raster."""
    return ArraySource(raster) if isinstance(raster, (DSM, Image, Mask)) else raster


def grid_of(surface: AnyDSM) -> Grid:
    """Return the grid of a DSM."""
    grid = surface.grid
    assert grid is not None  # DSMs have one
    return grid


def is_large(*surfaces: AnyDSM | None) -> bool:
    """Whether any of the DSMs has more than ``EXACT_PIXELS``."""
    grids = [grid_of(surface) for surface in surfaces if surface is not None]
    return any(grid.width * grid.height > EXACT_PIXELS for grid in grids)


def rasters_of(
    surfaces: Mapping[str, AnyDSM],
    reference: AnyDSM,
    masks: Mapping[str, AnyMask] | None = None,
    gt_mask: AnyMask | None = None,
    kernel: str = KERNEL,
) -> Rasters:
    """Return what is scored as sources on the grid of the reference; small files are read once and kept.

    Raises
    ------
    InputError
        The reference's CRS is geographic; a mask that does not fit.
    """
    grid = grid_of(reference)
    check_metric(grid)
    dsms, left = held({"": source_of(reference)} | {key: source_of(dsm) for key, dsm in surfaces.items()}, HELD_BYTES)
    every = {name: source_of(mask) for name, mask in (masks or {}).items()}
    scored = None if gt_mask is None else mask_on(source_of(gt_mask), grid, "gt")
    kept, _ = held(every, left)
    return Rasters(
        grid,
        dsms.pop(""),
        {name: dsm_on(source, grid, kernel) for name, source in dsms.items()},
        {name: mask_on(source, grid, name) for name, source in kept.items()},
        scored,
    )
