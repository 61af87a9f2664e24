"""Parts of a raster as sources of their own: a band as an image, classes of an image as a mask, counts as heights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.raster import DSM, MASK_UNKNOWN, Image, Mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window
    from refbench.contracts.source import RasterSource


@dataclass(frozen=True)
class _Part:
    """What parts of an image share: they lie where it lies."""

    source: RasterSource[Image]

    @property
    def grid(self) -> Grid | None:
        """The grid of the image."""
        return self.source.grid

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the image."""
        return self.source.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the image."""
        return self.source.files


@dataclass(frozen=True)
class OneBand(_Part):
    """One band, numbered from 0, as an image."""

    band: int = 0

    def read(self, window: Window | None = None) -> Image:
        """Return the band, or a padded window of it."""
        image = self.source.read(window)
        names = image.band_names[self.band : self.band + 1]
        return Image(image.pixels[self.band][None], image.grid, names, image.valid)


@dataclass(frozen=True)
class ClassesMask(_Part):
    """Where the first band of an image holds one of ``inside``; unknown where it is not valid or holds ``unknown``."""

    inside: tuple[int, ...] = ()
    name: str = "mask"
    unknown: tuple[int, ...] = ()

    def read(self, window: Window | None = None) -> Mask:
        """Return the mask, or a padded window of it."""
        image = self.source.read(window)
        values = image.pixels[0]
        known = ~np.isin(values, self.unknown)
        if image.valid is not None:
            known &= image.valid
        classes = np.where(known, np.isin(values, self.inside).astype(np.uint8), np.uint8(MASK_UNKNOWN))
        return Mask(classes, image.grid, self.name)


def classes_of(source: RasterSource[Image]) -> tuple[int, ...]:
    """Return the values that the first band of an image of classes holds, ascending; reads it."""
    image = source.read()
    values: NDArray[np.generic] = image.pixels[0] if image.valid is None else image.pixels[0][image.valid]
    return tuple(int(value) for value in np.unique(values))


@dataclass(frozen=True)
class CountedHeights(_Part):
    """Heights written as counts: ``origin + step * count`` metres; NaN where the image, or ``known``, holds no data."""

    origin: float = 0.0
    step: float = 1.0
    known: RasterSource[Image] | None = None
    on: Grid | None = None
    """The grid, where the image does not name its CRS."""
    beside: tuple[Path, ...] = ()
    """Files that say how the counts are to be read."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the heights are made of."""
        return (*self.source.files, *(() if self.known is None else self.known.files), *self.beside)

    @property
    def grid(self) -> Grid:
        """The grid of the heights."""
        grid = self.on or self.source.grid
        assert grid is not None  # the importer looked
        return grid

    def read(self, window: Window | None = None) -> DSM:
        """Return the heights, or a padded window of them."""
        image = self.source.read(window)
        valid = np.isfinite(image.pixels[0])
        if image.valid is not None:
            valid &= image.valid
        if self.known is not None:
            inside = self.known.read(window)
            valid &= inside.pixels[0] != 0
            if inside.valid is not None:
                valid &= inside.valid
        heights = (self.origin + self.step * image.pixels[0].astype(np.float64)).astype(np.float32)
        grid = self.grid if window is None else self.grid.window(window)
        return DSM(np.where(valid, heights, np.float32(np.nan)), grid)


def on_grid_of(source: RasterSource[Image], grid: Grid) -> RasterSource[Image]:
    """Return an image that names no CRS as one on ``grid``, in which it lies already."""
    return _Placed(source, grid)


@dataclass(frozen=True)
class _Placed(_Part):
    """An image on a grid that its file does not name in full."""

    on: Grid | None = None

    @property
    def grid(self) -> Grid | None:
        """The grid that was given."""
        return self.on

    def read(self, window: Window | None = None) -> Image:
        """Return the image, or a padded window of it."""
        image = self.source.read(window)
        grid = self.on if window is None or self.on is None else self.on.window(window)
        return replace(image, grid=grid)
