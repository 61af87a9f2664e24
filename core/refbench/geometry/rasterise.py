"""Point cloud -> raster, by the layers that gridding tools know. Empty cells are NaN; nothing is filled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from refbench.contracts.arrays import check_shape
from refbench.contracts.errors import InputError
from refbench.geometry import cells
from refbench.geometry.neighbourhood import gaussian, idw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

layers = ("count", "min", "max", "mean", "median", "std", "p90", "idw", "gaussian")
"""Names of the layers; any other percentile than the 90th is written likewise, as in ``p75``."""


def rasterise(
    xyz: NDArray[np.float64],
    grid: Grid,
    layer: str = "mean",
    *,
    values: NDArray[Any] | None = None,
    radius: int | None = None,
    sigma: float | Literal["cell"] | None = "cell",
    shape: Literal["disc", "square"] = "disc",
    distance: float | None = None,
    power: float = 2.0,
) -> NDArray[np.float64]:
    """Return one layer of a point cloud, float64 [rows, cols] on ``grid``.

    A point belongs to the cell ``floor((x - x0) / r)``, ``floor((y0 - y) / r)``. The grid's corner is subtracted
    in float64 before anything else, so UTM coordinates lose nothing. Points with a NaN value are left out.

    Parameters
    ----------
    xyz
        float64 [N, 3], metres in the CRS of ``grid``.
    grid
        Where the cells lie.
    layer
        One of ``layers``. ``std`` is the population's; percentiles are linear between order statistics.
        Cells without a point are 0 in ``count``, NaN elsewhere.
    values
        [N], what is gridded; the heights without it.
    radius
        In cells, for ``gaussian`` (default 1) and ``count`` (default: the cell itself); see ``shape``.
    sigma
        Of ``gaussian``, metres; ``"cell"`` is one cell, None or infinity the plain mean.
    shape
        Neighbourhood of ``gaussian`` and of ``count`` with a radius. ``disc``: points strictly nearer than
        ``(radius + 0.5) r`` to the cell centre. ``square``: points at most ``radius`` columns and rows away.
    distance, power
        Of ``idw``: weights ``d^-power`` within ``distance`` metres (default 1.5 cells) of the cell centre.

    Raises
    ------
    InputError
        An unknown layer, arrays of other shapes, coordinates that are not float64, or a parameter that the layer does
        not know.
    """
    count = check_shape("Point coordinates", xyz, "N 3")["N"]
    if xyz.dtype != "float64":
        raise InputError(f"Point coordinates must be float64 (float32 holds UTM to half a metre), got {xyz.dtype}.")
    values = xyz[:, 2] if values is None else values
    check_shape("Point values", values, str(count))
    if radius is not None and layer not in ("count", "gaussian"):
        raise InputError(f"Layer {layer} takes no radius; use gaussian (with sigma None for a plain mean) or count.")
    if distance is not None and layer != "idw":
        raise InputError(f"Layer {layer} takes no distance; only idw does.")
    if layer == "gaussian" or (layer == "count" and radius is not None):
        width = grid.gsd if sigma == "cell" else sigma
        around = gaussian(xyz, values, grid, radius=1 if radius is None else radius, sigma=width, shape=shape)
        return around.mean if layer == "gaussian" else around.number
    if layer == "idw":
        return idw(xyz, values, grid, distance=1.5 * grid.gsd if distance is None else distance, power=power)
    return _of_cells(xyz, values, grid, layer)


def _of_cells(xyz: NDArray[np.float64], values: NDArray[Any], grid: Grid, layer: str) -> NDArray[np.float64]:
    """Return a layer whose cells see their own points only."""
    if layer == "count":
        return cells.counts(xyz, values, grid)
    if layer in ("min", "max"):
        return cells.extremes(xyz, values, grid, highest=layer == "max")
    if layer == "mean":
        return cells.means(xyz, values, grid)
    if layer == "std":
        return cells.deviations(xyz, values, grid)
    percent = 50.0 if layer == "median" else _percent(layer)
    return cells.quantiles(xyz, values, grid, percent / 100)


def _percent(layer: str) -> float:
    """Return the number in ``p90``."""
    match = re.fullmatch(r"p(\d+(?:\.\d+)?)", layer)
    if match is None or float(match[1]) > 100:
        raise InputError(f"There is no layer {layer!r}; choose one of {', '.join(layers)}.")
    return float(match[1])
