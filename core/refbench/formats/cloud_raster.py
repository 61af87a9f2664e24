"""Point clouds as rasters: x, y and z of every pixel in bands of one file or in files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.warp import transform as proj_transform

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.formats.cloud import PointFile, PointSettings
from refbench.formats.cloud_reader import CloudReader
from refbench.formats.raster_file import RasterFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from refbench.formats.cloud_index import Arrays

AXES = ("x", "y", "z")


class RasterPoints(CloudReader):
    """The pixels of x, y and z as points in ``target``, chunk by chunk of whole rows."""

    def __init__(
        self,
        files: Sequence[Path],
        source: CRS,
        target: CRS,
        *,
        offset: Sequence[float] = (0.0, 0.0, 0.0),
        zero_is_nodata: bool = False,
    ) -> None:
        """Read the headers.

        Parameters
        ----------
        files
            One file whose first three bands are x, y and z, or a file for each.
        source, target
            CRS of the coordinates (x east or longitude, y north or latitude; or geocentric), and that of the points.
        offset
            What is added to x, y and z: metres or degrees, as they are.
        zero_is_nodata
            A pixel with all three coordinates 0, before the offset, is no point.

        Raises
        ------
        InputError
            No raster, fewer bands than are needed, or files of different sizes.
        """
        self._rasters = [RasterFile(path) for path in files]
        self._source, self._target = source, target
        self._offset, self._zero = np.asarray(offset, np.float64), zero_is_nodata
        first = self._rasters[0]
        self.path = first.path
        if len(files) == 1 and len(first.header.dtypes) < len(AXES):
            raise InputError(f"{first.path} has {len(first.header.dtypes)} bands; a point cloud needs x, y and z.")
        for raster in self._rasters[1:]:
            if (raster.header.height, raster.header.width) != (first.header.height, first.header.width):
                raise GridMismatchError(
                    f"{raster.path} has {raster.header.width} x {raster.header.height} px, {first.path} "
                    f"{first.header.width} x {first.header.height}."
                )
        self.count = first.header.width * first.header.height

    @property
    def files(self) -> tuple[Path, ...]:
        """The raster, or one for each axis."""
        return tuple(raster.path for raster in self._rasters)

    def chunks(self) -> Iterator[Arrays]:
        """Yield the points of whole rows; pixels that hold none are left out."""
        for strip in self._rasters[0].strips():
            if len(self._rasters) == 1:
                raw = self._rasters[0].read([1, 2, 3], strip)
                codes = self._rasters[0].header.nodata[:3]
            else:
                raw = np.concatenate([raster.read([1], strip) for raster in self._rasters])
                codes = tuple(raster.header.nodata[0] for raster in self._rasters)
            xyz = raw.reshape(3, -1).T.astype(np.float64)
            yield {"xyz": self._placed(xyz[self._holds_data(xyz, codes)] + self._offset)}

    def _holds_data(self, xyz: NDArray[np.float64], codes: Sequence[float | None]) -> NDArray[np.bool_]:
        known = np.isfinite(xyz).all(axis=1)
        for values, code in zip(xyz.T, codes, strict=True):
            if code is not None:
                known &= values != code
        return np.asarray(known & (xyz != 0).any(axis=1) if self._zero else known)

    def _placed(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points [N, 3] in the target CRS."""
        if not len(xyz) or self._source == self._target:
            return xyz
        try:
            placed = proj_transform(self._source, self._target, *xyz.T)
        except (RasterioError, CPLE_BaseError) as error:
            raise self._damaged(f"its coordinates cannot be brought to {self._target.to_string()}") from error
        return np.stack(placed, axis=1)


def open_raster_points(reader: RasterPoints, crs: CRS, vertical: str) -> PointFile:
    """Return the points of rasters as a source, in metres; ``vertical`` is their datum."""
    return PointFile(reader, crs, vertical, PointSettings())
