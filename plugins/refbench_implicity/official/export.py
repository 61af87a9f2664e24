"""``refbench scene export --to implicity``: any scene with points as an official chunk data set and configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.contracts.raster import Image, Mask
from refbench.formats.raster_write import write_dsm, write_image, write_mask
from refbench.geometry.image_scale import one_band
from refbench_implicity.config import VARIANTS, published
from refbench_implicity.official.builder import write_chunk_info, write_queries
from refbench_implicity.official.chunk_files import CHUNK_INFO, MASKS, POINT_FILE
from refbench_implicity.official.labels import Lookup
from refbench_implicity.official.values import official_values

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import DSM, Grid, Scene

CHUNK = "chunk_000"
UNIFORM_PER_M2 = 12.0
SURFACE_PER_M2 = 12.0
OFFSET_STD_M = 0.4
PADDING_M = (10.0, 20.0)
WALL_STEP_M = 1.5
BELOW_ALL_M = -1e6
"""Stands where the reference is unknown: everything there is air, and the reference mask leaves it out."""
PIXEL_MULTIPLE = 16
"""What the published image encoder's input must be a multiple of."""
LEAST_RANGE, STRETCHED = 1000.0, 10_000.0


def export_scene(scene: Scene, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write a scene as one chunk with its rasters and ``config.yaml``; return notes.

    Query points are written where there is a reference: uniform over the scene, and near roofs, facades and terrain
    of the reference DSM. Their labels follow the vertical test: 1 building, 2 terrain at or below the reference, 0 air.

    Raises
    ------
    InputError
        The scene has no points or no grid, or ``folder`` already holds a data set.
    """
    if scene.points is None or scene.grid is None:
        raise InputError(f"Scene {scene.id} has no points on a grid; ImpliCity's data sets are made of both.")
    if (folder / CHUNK_INFO).exists():
        raise InputError(f"{folder} already holds a data set; give another folder.")
    (folder / CHUNK).mkdir(parents=True, exist_ok=True)
    bounds = scene.grid.bounds
    xyz = scene.points.read(bounds).xyz
    np.savez(folder / CHUNK / POINT_FILE, pts=xyz)
    low = [bounds.west, bounds.south, float(xyz[:, 2].min())]
    high = [bounds.east, bounds.north, float(xyz[:, 2].max())]
    entry: dict[str, Any] = {"name": CHUNK, "min_bound": low, "max_bound": high}
    config = _rasters(scene, folder)
    reference = None if scene.reference is None or scene.reference.dsm is None else scene.reference.dsm.read()
    if reference is not None:
        for kind, points in _queries(scene, reference, seed).items():
            write_queries(folder / CHUNK, kind, _labelled(scene, reference, points))
            entry[f"n_query_pts-{kind}"] = len(points)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    write_chunk_info(folder, {0: entry})
    queries = sum(count for key, count in entry.items() if key.startswith("n_query"))
    images = len(config["dataset"].get("satellite_image", {}).get("pairs", ()))
    return {"points": len(xyz), "queries": queries, "images": images}


def _rasters(scene: Scene, folder: Path) -> dict[str, Any]:
    """Write orthos, reference and masks; return the whole official configuration that names them."""
    assert scene.grid is not None  # the caller checked
    raster = folder / "raster"
    raster.mkdir(exist_ok=True)
    names = scene.pairs[0] if scene.pairs else tuple(sorted(scene.orthos))[:2]
    config = official_values(VARIANTS[len(names)])
    dataset: dict[str, Any] = config["dataset"]
    dataset |= {"name": scene.id, "path": str(folder), "mask_files": {}, "dsm_gt_path": None}
    images = [_counts(scene.orthos[name].read()) for name in names]
    files = [f"ortho_{number}.tif" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        write_image(raster / file, image)
    if files:
        values = np.concatenate([image.pixels[0].ravel() for image in images]).astype(np.float64)
        scale = {"mean": float(values.mean()), "std": float(values.std()) or 1.0}
        dataset["satellite_image"] = {"folder": str(raster), "pairs": files, "normalize": scale}
    scored = scene.reference
    if scored is not None and scored.dsm is not None:
        write_dsm(raster / "gt_dsm.tif", scored.dsm.read())
        dataset["dsm_gt_path"] = str(raster / "gt_dsm.tif")
    for kind in MASKS:
        write_mask(raster / f"mask_{kind}.tif", _mask(scene, kind))
        dataset["mask_files"][kind] = str(raster / f"mask_{kind}.tif")
    _fit_lengths(config, scene.grid)
    return config


def _fit_lengths(config: dict[str, Any], grid: Grid) -> None:
    """Make the patch whole pixels that the networks accept, no larger than the scene; strides follow."""
    rows, cols = grid.shape
    pixels = int(min(published.patch_size / grid.gsd, rows, cols))
    if pixels < PIXEL_MULTIPLE:
        raise InputError(f"A scene of {cols} x {rows} px is smaller than the smallest patch of {PIXEL_MULTIPLE} px.")
    patch = pixels // PIXEL_MULTIPLE * PIXEL_MULTIPLE * grid.gsd
    config["dataset"]["patch_size"] = [patch, patch]
    for split, fraction in (("val", 2), ("vis", 4), ("test", 4)):
        config["dataset"]["sliding_window"][f"{split}_strip"] = [patch / fraction, patch / fraction]
    config["dsm_generation"]["pixel_size"] = list(grid.resolution)
    if grid.crs is not None and (epsg := grid.crs.to_epsg()) is not None:
        config["dsm_generation"]["crs_epsg"] = epsg


def _counts(image: Image) -> Image:
    """Return one band of counts: the official loader reads the first band, as whole numbers, and knows no NoData.

    Several bands are averaged, a range of less than ``LEAST_RANGE`` is stretched, unknown pixels get the median.
    """
    band = one_band(image, "mean")
    known = band[np.isfinite(band)]
    if not known.size:
        raise InputError("An ortho image without a valid pixel cannot be exported.")
    low, span = float(known.min()), float(np.ptp(known))
    band = np.nan_to_num(band, nan=float(np.median(known)))
    if image.pixels.dtype.kind == "f" and 0 < span < LEAST_RANGE:
        band = (band - low) / span * STRETCHED
    band = np.clip(np.rint(band), 0, np.iinfo(np.uint16).max)
    return Image(band[None].astype(np.uint16), image.grid)


def _mask(scene: Scene, kind: str) -> Mask:
    """Return a mask of 0 and 1 on the scene's grid; an unknown class is nowhere, unknown reference everywhere."""
    assert scene.grid is not None  # the caller checked
    source = scene.masks.get(kind)
    if kind == "gt":
        source = None if scene.reference is None else scene.reference.mask
    if source is not None:
        return Mask(source.read().is_class.astype(np.uint8), scene.grid, kind)
    known = np.ones(scene.grid.shape, np.uint8)
    if kind != "gt":
        known[:] = 0
    elif scene.reference is not None and scene.reference.dsm is not None:
        known = scene.reference.dsm.read().valid.astype(np.uint8)
    return Mask(known, scene.grid, kind)


def _queries(scene: Scene, reference: DSM, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return query positions [M, 3] by kind."""
    heights = reference.heights.astype(np.float64)
    rows, cols = np.nonzero(reference.valid)
    if not len(rows):
        raise InputError(f"The reference of scene {scene.id} holds no height.")
    building = _mask(scene, "building").is_class
    padded = np.pad(heights, 1, mode="edge")
    near = [padded[r : r + heights.shape[0], c : c + heights.shape[1]] for r in range(3) for c in range(3)]
    foot, top = np.fmin.reduce(near), np.fmax.reduce(near)
    wall = top - foot > WALL_STEP_M
    gsd = reference.grid.gsd
    span = np.nanmin(heights) - PADDING_M[0], np.nanmax(heights) + PADDING_M[1]
    choices = {"uniform": reference.valid, "roof": reference.valid & building & ~wall, "facade": reference.valid & wall}
    choices["terrain"] = reference.valid & ~building & ~wall
    found = {}
    for kind, where in choices.items():
        rng = derived_rng(seed, "implicity queries", kind)
        rows, cols = np.nonzero(where)
        density = UNIFORM_PER_M2 if kind == "uniform" else SURFACE_PER_M2
        count = int(len(rows) * gsd * gsd * density)
        pick = rng.integers(len(rows), size=count) if len(rows) else np.empty(0, np.int64)
        rows, cols = rows[pick], cols[pick]
        x, y = _inside(reference, rows, cols, rng)
        z = heights[rows, cols] + rng.normal(0, OFFSET_STD_M, len(rows))
        if kind == "uniform":
            z = rng.uniform(*span, len(rows))
        elif kind == "facade":
            z = rng.uniform(foot[rows, cols], top[rows, cols])
        found[kind] = np.stack([x, y, z], axis=1)
    return found


def _inside(
    reference: DSM, rows: NDArray[np.int64], cols: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of random places inside the pixels."""
    t = reference.grid.transform
    return t.c + (cols + rng.random(len(cols))) * t.a, t.f + (rows + rng.random(len(rows))) * t.e


def _labelled(scene: Scene, reference: DSM, points: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a query file: ``pts``, ``occ`` and the masks."""
    transform = reference.grid.transform
    heights = np.where(reference.valid, reference.heights, np.float32(BELOW_ALL_M))
    xy = points[:, :2]
    under = points[:, 2] <= Lookup(heights, transform, BELOW_ALL_M)(xy)
    masks = {kind: _mask(scene, kind).values for kind in MASKS}
    looked = {f"mask_{kind}": Lookup(values, transform, 0)(xy) for kind, values in masks.items()}
    occupied = np.where(looked["mask_building"] == 1, 1, 2)
    return {"pts": points, "occ": np.where(under, occupied, 0), **looked}
