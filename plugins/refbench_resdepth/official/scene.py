"""Data sets of official configurations as scenes: rasters cut to their regions, images of the pair lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refbench import Scene, Window
from refbench.contracts.errors import ConfigError, GridMismatchError, InputError
from refbench.contracts.scene import Reference
from refbench.formats.cropped import Cropped
from refbench.formats.raster import open_dsm, open_image, open_mask
from refbench_resdepth.official.config import dataset_name, strategy_of, stripe_of
from refbench_resdepth.official.lists import read_image_list, read_pair_list
from refbench_resdepth.regions import Extent, allocate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench import Grid, Image, Mask
    from refbench.contracts.source import RasterSource
    from refbench_resdepth.official.config import InferenceDataset, OfficialInference

LAND_MASKS = ("building", "water", "forest")


@dataclass(frozen=True)
class ImageTuples:
    """The image list of a data set and the tuples of indices into it; ``names`` are those of the scene's orthos."""

    files: tuple[Path, ...] = ()
    tuples: tuple[tuple[int, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """One name per image: its stem, with its number where another image has the same."""
        stems = [file.stem for file in self.files]
        return tuple(s if stems.count(s) == 1 else f"{s}-{i}" for i, s in enumerate(stems))

    @property
    def named_tuples(self) -> tuple[tuple[str, ...], ...]:
        """The tuples by name."""
        return tuple(tuple(self.names[i] for i in chosen) for chosen in self.tuples)


def find_dataset(config: OfficialInference, name: str | None) -> tuple[int, InferenceDataset]:
    """Return index and entry of the data set ``name``, or of the first one."""
    for index, dataset in enumerate(config.datasets):
        if name is None or dataset_name(dataset, index) == name:
            return index, dataset
    raise ConfigError(f"The configuration lists no data set {name!r}.")


def image_tuples(image_list: str | None, pair_list: str | None, n_images: int) -> ImageTuples:
    """Return the images that a network of ``n_images`` gets; nothing for one that takes none.

    Raises
    ------
    InputError
        The lists are missing or wrong.
    """
    if not n_images:
        return ImageTuples()
    if image_list is None or pair_list is None:
        raise ConfigError("The network takes images: the data set needs path_image_list and a pair list.")
    files = read_image_list(Path(image_list))
    return ImageTuples(files, read_pair_list(Path(pair_list), files, n_images))


def extents_of(dataset: InferenceDataset, config: OfficialInference, shape: tuple[int, int]) -> tuple[Extent, ...]:
    """Return the regions of a data set's raster of ``shape`` (rows, cols)."""
    strategy = strategy_of(dataset, config)
    if strategy == "entire":
        return allocate(*shape, strategy, 0)["test"]
    stripe, area = stripe_of(dataset, config), dataset.area_type
    if stripe is None or area is None:
        raise ConfigError("Stripes need area_type and test_stripe.")
    found = allocate(*shape, strategy, stripe, crossval=dataset.crossval_training)[area]
    if not found:
        raise ConfigError(f"With crossval_training there is no area {area}; use train or val.")
    return found


def bounding(extents: Sequence[Extent]) -> Window:
    """Return the smallest window around all regions."""
    left, top = min(e.x_first for e in extents), min(e.y_first for e in extents)
    right, bottom = max(e.x_last for e in extents), max(e.y_last for e in extents)
    return Window(left, top, right - left + 1, bottom - top + 1)


def official_scene(config: OfficialInference, name: str | None, n_images: int) -> Scene:
    """Return one data set as a scene on the bounding box of its regions.

    Raises
    ------
    InputError
        A file is missing or unreadable, or rasters do not lie on the same grid.
    """
    index, dataset = find_dataset(config, name)
    dsm = open_dsm(Path(dataset.raster_in))
    grid = dsm.grid
    extents = extents_of(dataset, config, grid.shape)
    window = bounding(extents)
    images = image_tuples(dataset.path_image_list, dataset.path_pairlist, n_images)
    used = dict.fromkeys(i for chosen in images.tuples for i in chosen)
    orthos = {images.names[i]: Cropped(aligned_image(images.files[i], grid), window) for i in used}
    masks = {
        kind: Cropped(aligned_mask(Path(file), kind, grid), window)
        for kind in LAND_MASKS
        if (file := getattr(dataset, f"mask_{kind}")) is not None
    }
    reference = None
    if dataset.raster_gt is not None:
        source = open_dsm(Path(dataset.raster_gt))
        check_grid(source.grid, grid, Path(dataset.raster_gt))
        gt_mask = dataset.mask_ground_truth
        valid = None if gt_mask is None else Cropped(aligned_mask(Path(gt_mask), "gt", grid), window)
        reference = Reference(Cropped(source, window), valid)
    cut = grid.window(window)
    areas = tuple(Window(e.x_first - window.col_off, e.y_first - window.row_off, e.cols, e.rows) for e in extents)
    return Scene(
        dataset_name(dataset, index),
        cut,
        dsm=Cropped(dsm, window),
        orthos=orthos,
        pairs=images.named_tuples,
        masks=masks,
        reference=reference,
        origin=(*cut.origin, 0.0),
        warnings=dsm.warnings,
        areas=areas if len(areas) > 1 else (),
    )


def aligned_image(path: Path, grid: Grid) -> RasterSource[Image]:
    """Open an ortho image and check that it lies on ``grid``."""
    source = open_image(path)
    if source.grid is None:
        raise InputError(f"{path} has no geotransform, so it is no ortho image.")
    check_grid(source.grid, grid, path)
    return source


def aligned_mask(path: Path, name: str, grid: Grid) -> RasterSource[Mask]:
    """Open a mask and check that it lies on ``grid``."""
    source = open_mask(path, name=name)
    if source.grid is not None:
        check_grid(source.grid, grid, path)
    return source


def check_grid(own: Grid, grid: Grid, path: Path) -> None:
    """Raise ``GridMismatchError`` where a raster does not lie pixel on pixel with the initial DSM."""
    if wrong := "; ".join(grid.differences(own)):
        raise GridMismatchError(f"{path} does not lie on the grid of the initial DSM: {wrong}; resample it.")
