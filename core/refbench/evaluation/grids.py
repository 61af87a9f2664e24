"""DSMs and masks on the grid of the reference, and what a reference has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.formats.raster import ArraySource
from refbench.formats.warped import Warped, chosen_kernel
from refbench.geometry.warp import kernels, warp_dsm, warp_mask

if TYPE_CHECKING:
    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM, Mask

KERNEL = "bilinear"


def check_metric(grid: Grid) -> None:
    """Refuse a reference in a geographic CRS: slopes and areas need metres."""
    if grid.crs is not None and grid.crs.is_geographic:
        name = grid.crs.to_string()
        raise InputError(f"The reference is in {name}, degrees; reproject it to a CRS in metres, such as UTM.")


def on_grid(dsm: DSM, reference: DSM, kernel: str = KERNEL) -> DSM:
    """Return a DSM on the grid of the reference: itself where the grids agree, else resampled.

    ``bilinear``, ``nearest`` and GDAL's kernels are those of ``refbench.geometry.warp``: strict, an unknown contributor
    makes a pixel unknown. ``cubic`` and ``average`` are those of ``refbench.formats.warped``, ``auto`` chooses.
    """
    if dsm.grid == reference.grid:
        return dsm
    kernel = used_kernel(kernel, dsm.grid, reference.grid)
    if kernel in kernels:
        return warp_dsm(dsm, reference.grid, kernel)
    return Warped(ArraySource(dsm), reference.grid, kernel).read()


def used_kernel(kernel: str, source: Grid, target: Grid) -> str:
    """Return the kernel that brings a DSM to another grid: ``auto`` resolved."""
    return kernel if kernel in kernels else chosen_kernel(kernel, source, target)


def mask_on_grid(mask: Mask, reference: DSM) -> Mask:
    """Return a mask on the grid of the reference by nearest pixels; one without grid must have its shape.

    Raises
    ------
    InputError
        A mask without georeference and with another shape.
    """
    if mask.grid is None:
        if mask.values.shape != reference.grid.shape:
            raise InputError(f"Mask {mask.name} has no georeference and not the size of the reference.")
        return mask
    return mask if mask.grid == reference.grid else warp_mask(mask, reference.grid)
