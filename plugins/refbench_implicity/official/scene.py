"""Scenes from official chunk data sets, with or without the configuration that names their rasters."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from refbench.contracts.errors import ConfigError, InputError
from refbench.contracts.grid import Bounds, Grid, Window
from refbench.contracts.points import PointCloud
from refbench.contracts.scene import Reference, Scene
from refbench.files.yaml_text import parse_yaml
from refbench.formats.cropped import Cropped
from refbench.formats.raster import open_dsm, open_image, open_mask
from refbench_implicity.official.chunk_files import CHUNK_INFO, POINT_FILE, read_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench.contracts.raster import Mask
    from refbench_implicity.config import DatasetConfig
    from refbench_implicity.official.chunk_files import Chunk

LAND_MASKS = ("building", "forest", "water")


@dataclass(frozen=True)
class ChunkPoints:
    """The point clouds of chunks as one source; each counts inside its chunk only, as in the official code."""

    chunks: Sequence[Chunk]
    crs: CRS | None = None
    warnings: tuple[str, ...] = ()

    @property
    def vertical(self) -> str:
        """Official data sets do not name a vertical datum."""
        return "unknown"

    @property
    def files(self) -> tuple[Path, ...]:
        """The point files."""
        return tuple(chunk.folder / POINT_FILE for chunk in self.chunks)

    def bounds(self) -> Bounds:
        """Return the rectangle around all chunks."""
        return _bounds(self.chunks)

    def count(self) -> int:
        """Return the number of points in all files."""
        return sum(len(chunk.points.xyz) for chunk in self.chunks)

    def read(self, bounds: Bounds | None = None) -> PointCloud:
        """Return the points with west <= x < east and south <= y < north, or all."""
        parts = [self._part(chunk, bounds) for chunk in self.chunks]
        xyz = np.concatenate(parts)
        return PointCloud(xyz[np.isfinite(xyz).all(axis=1)], self.crs)

    def _part(self, chunk: Chunk, bounds: Bounds | None) -> NDArray[np.float64]:
        low, high = chunk.low, chunk.high
        if bounds is not None:
            # The index leaves out points on the edges; those on the west and south edge belong inside.
            low = np.maximum(low, np.nextafter([bounds.west, bounds.south], -np.inf))
            high = np.minimum(high, [bounds.east, bounds.north])
        return np.asarray(chunk.points.xyz[chunk.points.inside(low, high)], np.float64)


def official_scene(dataset: DatasetConfig, split: str = "test") -> Scene:
    """Return the scene of one split of an official data set.

    Parameters
    ----------
    dataset
        The ``dataset`` section of a translated configuration.
    split
        ``train``, ``val``, ``test`` or ``vis``: whose chunks make up the scene.

    Raises
    ------
    InputError
        A file is missing or unreadable.
    """
    if dataset.path is None:
        raise ConfigError("dataset.path is missing: it names the folder with chunk_info.yaml.")
    folder, crs = Path(dataset.path), CRS.from_epsg(dataset.crs_epsg)
    chunks = read_chunks(folder, getattr(dataset, f"{split}_chunks"))
    grid = chunk_grid(chunks, dataset.dsm_pixel_size, crs)
    orthos: dict[str, Any] = {}
    if (images := dataset.satellite_image) is not None:
        for name, file in zip("ab", images.pairs, strict=False):
            source = open_image(Path(images.folder) / file)
            if source.grid is None:
                raise InputError(f"{source.files[0]} has no geotransform, so it is no ortho.")
            source.grid = dataclasses.replace(source.grid, crs=source.grid.crs or crs)
            orthos[name] = source
    masks = {name: _mask(getattr(dataset.mask_files, name), name, grid) for name in LAND_MASKS}
    return Scene(
        dataset.name or folder.name,
        grid,
        points=ChunkPoints(chunks, crs),
        orthos=orthos,
        pairs=(tuple(orthos),) if len(orthos) == 2 else (),
        masks={name: mask for name, mask in masks.items() if mask is not None},
        reference=_reference(dataset, grid, str(crs)),
        origin=(*grid.origin, 0.0),
        folder=folder,
    )


def open_chunk_folder(path: Path) -> Scene:
    """Return the scene of a chunk folder alone: all its points; its rasters are known to a configuration only."""
    from refbench_implicity.config import DatasetConfig

    info = parse_yaml((path / CHUNK_INFO).read_text(encoding="utf-8"))
    if not isinstance(info, dict):
        raise InputError(f"{path / CHUNK_INFO} must map chunk numbers to chunks.")
    dataset = DatasetConfig(path=str(path), name=path.name, test_chunks=tuple(info))
    note = (
        f"{path} names no rasters and no CRS: EPSG:{dataset.crs_epsg} is assumed; an official configuration knows them."
    )
    return dataclasses.replace(official_scene(dataset), warnings=(note,))


def chunk_grid(chunks: Sequence[Chunk], pixel: tuple[float, float], crs: CRS | None) -> Grid:
    """Return the grid of the generated DSM: whole pixels from the north-west corner of the chunks."""
    bounds = _bounds(chunks)
    # A quotient a rounding error below a whole number is that number.
    width = int((bounds.east - bounds.west) / pixel[0] + 1e-6)
    height = int((bounds.north - bounds.south) / pixel[1] + 1e-6)
    return Grid(width, height, Affine(pixel[0], 0.0, bounds.west, 0.0, -pixel[1], bounds.north), crs)


def _bounds(chunks: Sequence[Chunk]) -> Bounds:
    low, high = np.min([c.low for c in chunks], axis=0), np.max([c.high for c in chunks], axis=0)
    return Bounds(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _on(grid: Grid, own: Grid) -> Window | None:
    """Return the window of ``own`` that is ``grid``, or None where the pixels differ."""
    col, row = own.pixel_of(np.array(grid.transform.c), np.array(grid.transform.f))
    window = Window(round(float(col)), round(float(row)), grid.width, grid.height)
    return window if own.window(window) == grid else None


def _mask(file: str | None, name: str, grid: Grid) -> Cropped[Mask] | None:
    if file is None:
        return None
    source = open_mask(Path(file), name=name)
    window = None if source.grid is None else _on(grid, source.grid)
    return None if window is None else Cropped(source, window)


def _reference(dataset: DatasetConfig, grid: Grid, crs: str) -> Reference | None:
    """Return the reference, where its pixels are those of the DSM."""
    if dataset.dsm_gt_path is None:
        return None
    reference = open_dsm(dataset.dsm_gt_path)
    window = _on(grid, reference.grid)
    if window is None:
        return None
    return Reference(Cropped(reference, window), _mask(dataset.mask_files.gt, "gt", grid))
