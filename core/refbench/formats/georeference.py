"""Where a raster file lies: its geotransform and CRS in metres, or a sentence that says what is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affine import Affine

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.formats.crs import local_unit, metric_local, parse_crs, reconcile_crs, split_crs
from refbench.formats.units import unit_of_factor

if TYPE_CHECKING:
    from rasterio.crs import CRS

    from refbench.formats.raster_file import RasterHeader

FARTHEST = 1e9
"""No pixel lies farther from the origin of a CRS, in metres."""


@dataclass(frozen=True, slots=True)
class Georeference:
    """Transform of pixel corners and CRS, in metres where the CRS is a local one; ``transform`` None: there is none."""

    transform: Affine | None
    crs: CRS | None
    vertical: str | None
    height_unit: str | None
    local_unit: str | None
    """Unit of a local CRS before the conversion; heights that nobody names a unit of count in it."""
    notes: tuple[str, ...]

    def grid(self, where: str, header: RasterHeader, crs: CRS | None, vertical: str) -> Grid:
        """Return the grid of the raster.

        Raises
        ------
        InputError
            The geotransform is infinite, degenerate, or finer than its coordinates can say.
        """
        assert self.transform is not None  # checked by the caller
        t = self.transform
        far = [abs(value) for p in ((0, 0), (header.width, header.height)) for value in t @ p]
        fine = math.ulp(max(far)) if all(map(math.isfinite, far)) else math.inf
        sizes = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
        if not max(far) <= FARTHEST or min(sizes) <= 16 * fine or abs(t.determinant) <= 1e-9 * sizes[0] * sizes[1]:
            values = ", ".join(f"{value:g}" for value in tuple(t)[:6])
            raise InputError(f"{where} has the geotransform ({values}), which places no pixels; georeference it anew.")
        return Grid(header.width, header.height, t, crs, vertical)


def georeference(where: str, header: RasterHeader, declared: str | CRS | None) -> Georeference:
    """Return where a raster lies; ``declared`` is the user's CRS for files that carry none.

    A local (engineering) CRS in another unit than the metre is converted: its transform, and the CRS itself.

    Raises
    ------
    InputError
        The declared CRS is none, or contradicts the file's.
    """
    split = split_crs(header.crs)
    crs = reconcile_crs(where, split.horizontal, None if declared is None else parse_crs(declared))
    transform = None if header.transform.is_identity else header.transform
    unit = None if crs is None else local_unit(where, crs)
    if crs is None or unit is None or unit.metres == 1.0:
        return Georeference(transform, crs, split.vertical, split.height_unit, None, ())
    if transform is not None:
        transform = Affine.scale(unit.metres) @ transform
    note = f"{where}: its local CRS counts in {unit.name} ({unit.metres:.9g} m); coordinates were converted to metres."
    name = unit_of_factor(unit.metres) or f"{unit.name} of {unit.metres:.9g} m"
    return Georeference(transform, metric_local(crs), split.vertical, split.height_unit, name, (note,))
