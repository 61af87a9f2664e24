"""Rasters in degrees, feet or another CRS brought to metres, with the kernel and the loss said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.formats.crs import crs_title
from refbench.formats.utm import grid_centre, is_in_metres, metric_grid, target_of
from refbench.formats.warped import Warped, round_trip_loss

if TYPE_CHECKING:
    from rasterio.crs import CRS

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM
    from refbench.formats.raster_sources import DSMFile


def metric_target(where: str, grid: Grid, target: str | CRS | None) -> CRS | None:
    """Return the CRS in metres that a raster has to be brought to, None where it lies in it already.

    Parameters
    ----------
    where
        The file, for messages.
    grid
        Its grid.
    target
        A CRS in metres, ``own`` for the same map counted in metres, or None: the raster's own where it is in metres,
        else the UTM zone of its middle.

    Raises
    ------
    InputError
        The raster lies beyond UTM, or its CRS cannot be counted in metres.
    """
    assert grid.crs is not None  # ``open_dsm`` asks for one
    if is_in_metres(grid.crs) and target in (None, "own", grid.crs):
        return None
    return target_of(where, grid.crs, target, grid_centre(grid))


def in_metres(
    source: DSMFile, target: str | CRS | None = None, *, gsd: float | None = None, kernel: str = "auto"
) -> DSMFile | Warped[DSM]:
    """Return a DSM in metres: the source itself where it is so already, else on a grid of its own pixel area.

    Parameters
    ----------
    source
        Opened with ``any_crs``.
    target
        See ``metric_target``.
    gsd
        Pixel size in metres of the new grid; default: that of the source in its middle.
    kernel
        Of ``refbench.formats.warped.KERNELS``.

    Raises
    ------
    InputError
        See ``metric_target`` and ``metric_grid``.
    """
    where = str(source.files[0])
    crs = metric_target(where, source.grid, target)
    if crs is None:
        return source
    return Warped(source, metric_grid(where, source.grid, crs, gsd), kernel)


def warp_note(warped: Warped[DSM]) -> str:
    """Return the sentence about a DSM on another grid: from where to where, by which kernel, with which loss.

    Reads up to 16 windows of the source.
    """
    source, target = warped.source.grid, warped.target
    assert source is not None  # only what lies somewhere is warped
    other = source.crs is not None and target.crs is not None and source.crs != target.crs
    way = f"from {crs_title(source.crs)} to {crs_title(target.crs)}" if other else "to another grid"
    return (
        f"{warped.files[0]}: resampled {way}, {target.width} x {target.height} px of {target.gsd:.4g} m, by "
        f"{warped.kernel_used}; {round_trip_loss(warped)}."
    )
