"""The official output tree: predictions, residuals and statistics per tuple of images, under the official names."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window
from refbench.files.atomic import atomic_file
from refbench.formats.raster import open_dsm, open_mask
from refbench.formats.raster_access import open_dataset
from refbench_resdepth.ensemble import layer_name
from refbench_resdepth.official.config import (
    STRIPED_KEYS,
    OfficialInference,
    dataset_name,
    read_json,
    strategy_of,
    stripe_of,
)
from refbench_resdepth.official.model import official_settings, read_architecture
from refbench_resdepth.official.scene import bounding, extents_of, find_dataset, image_tuples
from refbench_resdepth.official.statistics import (
    Residuals,
    pooled,
    pooled_statistics_text,
    sets,
    statistics_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import DSM, Grid
    from refbench.contracts.source import RasterSource
    from refbench_resdepth.config import ModelConfig
    from refbench_resdepth.official.config import InferenceDataset
    from refbench_resdepth.official.scene import ImageTuples
    from refbench_resdepth.regions import Extent

NODATA = -9999.0
ROWS_AT_ONCE = 512
PREFIXES = {1: "Image", 2: "Stereopair"}
MASKS = ("ground_truth", "building", "water", "forest")


@dataclass(frozen=True)
class _Dataset:
    """One data set of the configuration with everything that its files are written from."""

    config: OfficialInference
    entry: InferenceDataset
    model: ModelConfig
    images: ImageTuples
    initial: RasterSource[DSM]
    extents: tuple[Extent, ...]
    folder: Path

    @property
    def stem(self) -> str:
        """What the names of all files begin with."""
        return Path(self.entry.raster_in).stem


def write_tree(config: OfficialInference, path: Path, name: str | None, result: Path) -> list[str]:
    """Write the official files of one data set; return warnings.

    Parameters
    ----------
    config
        The configuration.
    path
        Its file, copied beside the results.
    name
        The data set.
    result
        The result folder: ``dsm.tif``, and ``dsm_<images>.tif`` per tuple where there are several.

    Raises
    ------
    InputError
        The output folder cannot be written to.
    """
    data = _open(config, name)
    try:
        data.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output.directory: {data.folder} cannot be made: {error.strerror}.") from error
    with atomic_file(data.folder / "config.json.orig") as file:
        file.write(path.read_bytes())
    merged = json.dumps(merged_inference(config, path), indent=2)
    with atomic_file(data.folder / "config.json") as file:
        file.write(merged.encode())
    tuples = data.images.tuples or ((),)
    runs = []
    for chosen in tuples:
        names = [data.images.names[i] for i in chosen]
        source = result / ("dsm.tif" if len(tuples) == 1 else f"dsm_{layer_name(names)}.tif")
        runs.append(_write_run(data, open_dsm(source), data.folder / folder_name(chosen)))
    scored = [run for run in runs if run is not None]
    if len(scored) > 1:
        text = pooled_statistics_text(data_name(data.model), data.config.model.weights, pooled(scored))
        file_name = f"{data.stem}_prediction_performance_statistics_mean_over_all_stereopairs.txt"
        with atomic_file(data.folder / file_name) as file:
            file.write(text.encode())
    return []


def folder_name(chosen: Sequence[int]) -> str:
    """Return the folder of a tuple of image indices; the data set's own for a network without images."""
    return "_".join([PREFIXES.get(len(chosen), "Imagepair"), *map(str, chosen)]) if chosen else "."


def data_name(model: ModelConfig) -> str:
    """Return the official name of the network."""
    return str(official_settings(model)["name"])


def merged_inference(config: OfficialInference, path: Path) -> dict[str, Any]:
    """Return the configuration as the official code writes it down: with regions, images and the architecture."""
    merged = read_json(path) or {}
    model = read_architecture(Path(config.model.architecture))
    for index, dataset in enumerate(config.datasets):
        entry = merged["datasets"][index]
        strategy = strategy_of(dataset, config)
        entry["allocation_strategy"] = strategy
        if strategy != "entire":
            entry |= {"test_stripe": stripe_of(dataset, config), "crossval_training": dataset.crossval_training}
        extents = extents_of(dataset, config, open_dsm(Path(dataset.raster_in)).grid.shape)
        entry["area_defn"] = {
            "x_extent": [[e.x_first, e.x_last] for e in extents],
            "y_extent": [[e.y_first, e.y_last] for e in extents],
        }
        if model.n_images:
            images = image_tuples(dataset.path_image_list, dataset.path_pairlist, model.n_images)
            entry["image_list"] = [str(file) for file in images.files]
            entry["image_pairs"] = [list(chosen) for chosen in images.tuples]
    merged["model"] |= official_settings(model)
    merged["general"] = {**asdict(config.general), **merged.get("general", {})}
    for key in STRIPED_KEYS:
        if key not in (read_json(path) or {}).get("general", {}):
            merged["general"].pop(key, None)
    if merged["general"].get("workers") is None:
        merged["general"]["workers"] = os.cpu_count() or 1
    return merged


def _open(config: OfficialInference, name: str | None) -> _Dataset:
    index, entry = find_dataset(config, name)
    model = read_architecture(Path(config.model.architecture))
    initial = open_dsm(Path(entry.raster_in))
    return _Dataset(
        config,
        entry,
        model,
        image_tuples(entry.path_image_list, entry.path_pairlist, model.n_images),
        initial,
        extents_of(entry, config, initial.grid.shape),
        Path(config.output.directory) / dataset_name(entry, index),
    )


def _write_run(data: _Dataset, refined: RasterSource[DSM], folder: Path) -> dict[str, Residuals] | None:
    """Write the files of one tuple of images; return its residuals where there is a truth."""
    folder.mkdir(parents=True, exist_ok=True)
    box = bounding(data.extents)
    for extent, suffix in zip(data.extents, _suffixes(data), strict=True):
        window = Window(extent.x_first - box.col_off, extent.y_first - box.row_off, extent.cols, extent.rows)
        _write_heights(folder / f"{data.stem}_prediction{suffix}.tif", refined, window, _pixel_type(data))
    if data.entry.raster_gt is None:
        return None
    reference = open_dsm(Path(data.entry.raster_gt)).read().heights
    initial = data.initial.read().heights
    heights = np.full(initial.shape, np.nan, np.float64)
    heights[box.slices] = refined.read().heights
    masks = _masks(data)
    own = data.initial.grid
    assert own is not None  # a DSM always has one
    residuals = sets(reference, initial, heights, masks, data.extents)
    valid = _valid(data, reference, initial, heights, masks)
    error = np.where(valid, heights - reference, NODATA).astype(np.float32)
    for extent, suffix in zip(data.extents, _suffixes(data), strict=True):
        grid = own.window(Window(extent.x_first, extent.y_first, extent.cols, extent.rows))
        _write(folder / f"{data.stem}_residuals{suffix}.tif", grid, "float32", [(0, error[extent.pixels])])
    x, y = own.resolution
    text = statistics_text(data_name(data.model), data.config.model.weights, residuals, x * y)
    with atomic_file(folder / f"{data.stem}_prediction_statistics.txt") as file:
        file.write(text.encode())
    return residuals


def _suffixes(data: _Dataset) -> list[str]:
    return [""] if len(data.extents) == 1 else [f"_{number}" for number in range(len(data.extents))]


def _masks(data: _Dataset) -> dict[str, NDArray[np.uint8]]:
    files = {kind: getattr(data.entry, f"mask_{kind}") for kind in MASKS}
    return {kind: open_mask(Path(file), name=kind).read().values for kind, file in files.items() if file is not None}


def _valid(
    data: _Dataset,
    reference: NDArray[np.float32],
    initial: NDArray[np.float32],
    heights: NDArray[np.float64],
    masks: Mapping[str, NDArray[np.uint8]],
) -> NDArray[np.bool_]:
    valid = np.isfinite(reference) & np.isfinite(initial) & np.isfinite(heights)
    return valid & (masks["ground_truth"] == 1) if "ground_truth" in masks else valid


def _pixel_type(data: _Dataset) -> str:
    """Return the pixel type of the initial DSM; float32 where that is an integer, which would truncate heights."""
    with open_dataset(data.entry.raster_in) as file:
        kind = np.dtype(file.dtypes[0])
    return str(kind) if kind.kind == "f" else "float32"


def _write_heights(path: Path, source: RasterSource[DSM], window: Window, kind: str) -> None:
    """Write a window of a DSM, strip by strip."""
    assert source.grid is not None  # a DSM always has one

    def strips() -> Any:  # noqa: ANN401  # a generator of (first row, heights)
        for first in range(0, window.height, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, window.height - first)
            heights = source.read(Window(window.col_off, window.row_off + first, window.width, rows)).heights
            yield first, np.where(np.isnan(heights), np.float32(NODATA), heights)

    _write(path, source.grid.window(window), kind, strips())


def _write(path: Path, grid: Grid, kind: str, strips: Any) -> None:  # noqa: ANN401  # (first row, values) each
    """Write a GeoTIFF as the official code does (LZW, NoData -9999), beside its place, then rename it."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with rasterio.open(
            beside, "w", driver="GTiff", width=grid.width, height=grid.height, count=1, dtype=kind, crs=grid.crs,
            transform=grid.transform, nodata=NODATA, compress="LZW",
        ) as file:  # fmt: skip
            for first, values in strips:
                file.write(
                    values.astype(kind), 1, window=rasterio.windows.Window(0, first, values.shape[1], values.shape[0])
                )
        beside.replace(path)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise InputError(f"{path} cannot be written: {error}.") from error
    finally:
        beside.unlink(missing_ok=True)
