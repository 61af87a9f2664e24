"""Parity of ResDepth's pieces without torch: regions, tiles, sampling, normalisation, lists, masks, statistics.

Cases and every parameter come from the golden folder; see ``golden_resdepth``.
"""

from __future__ import annotations

import json
import re
from itertools import product

import numpy as np
import pytest
import rasterio
from golden_resdepth import cases, files, golden_folder, load_json, load_npz, manifest

from refbench import InputError
from refbench.contracts.raster import MASK_UNKNOWN
from refbench_resdepth.normalise import (
    normalise_heights,
    normalise_images,
    patch_mean,
    patch_std,
    training_std,
)
from refbench_resdepth.official.lists import read_image_list, read_pair_list
from refbench_resdepth.official.statistics import (
    pooled,
    pooled_statistics_text,
    scores,
    set_masks,
    sets,
    statistics_text,
    truncated,
)
from refbench_resdepth.regions import Extent, allocate, blend_profile, tile_starts
from refbench_resdepth.training.augment import augment
from refbench_resdepth.training.loss_mask import own_part, reference_mask
from refbench_resdepth.training.sampling import Positions, draw

GOLDEN = golden_folder()
STATISTICS = ("count", "max", "min", "MAE", "RMSE", "MedAE", "median", "NMAD")
TRUNCATED = ("count", "MAE", "RMSE", "MedAE", "median", "NMAD")
MASKS = {"g": "ground_truth", "b": "building", "w": "water", "f": "forest"}


def close(found, expected, tolerance, relative=0.0):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=relative, atol=tolerance)


def extents(rows):
    return tuple(Extent(*map(int, row)) for row in rows)


def known(heights, nodata):
    return np.where(heights == nodata, np.float32(np.nan), heights)


def keyed(kind, pattern):
    """(path, match) for every array of one kind whose name matches."""
    found = ((path, re.fullmatch(pattern, name)) for path in files(kind) for name in load_npz(path))
    return [pytest.param(path, match, id=match[0]) for path, match in found if match]


# --- regions and tiles --------------------------------------------------------------------------------------------


@cases("path, match", keyed("allocation", r"(\d+)x(\d+)_(\w+)_(\d)_(std|cv)_(train|val|test)"))
def test_allocation(path, match):
    rows, cols, strategy, stripe, kind, name = match.groups()
    strategy = strategy if strategy == "entire" else f"5-crossval_{strategy}"
    found = allocate(int(rows), int(cols), strategy, int(stripe), crossval=kind == "cv")
    assert found[name] == extents(load_npz(path)[match[0]])


@cases("path, match", keyed("tiling", r"(c\d+)_spec"))
def test_tiling(path, match):
    case = f"{match[1]}_"
    stored = {key.removeprefix(case): array for key, array in load_npz(path).items() if key.startswith(case)}
    *corners, tile, stride = map(int, stored["spec"])
    region = Extent(*corners)
    along_y = tile_starts(region.y_first, region.y_last, tile, stride)
    along_x = tile_starts(region.x_first, region.x_last, tile, stride)
    grid = list(product(along_y, along_x))
    assert [[y[0], x[0]] for y, x in grid] == stored["positions_yx"].tolist()
    assert [[y[1], x[1], y[2], x[2]] for y, x in grid] == stored["valid_uly_ulx_lry_lrx"].tolist()

    total = np.zeros((region.rows, region.cols))
    for index, (y, x) in enumerate(grid):
        weights = np.outer(*(blend_profile(tile, stride, *axis[1:]) for axis in (y, x)))
        if "weights" in stored:
            close(weights, stored["weights"][index], 1e-7)
        row, col = y[0] - region.y_first, x[0] - region.x_first
        total[row : row + tile, col : col + tile] += weights
    if "weight_sum" in stored:
        close(total, stored["weight_sum"], 1e-6)
    close(total, 1, 1e-12)


# --- samples ------------------------------------------------------------------------------------------------------


@cases("path", files("training_statistics"))
def test_training_statistics(path):
    stored, tile = load_npz(path), manifest()[path.name]["tile"]
    positions = Positions(extents(stored["regions"]), tile)
    assert len(positions) == stored["n_valid_positions"]
    drawn = positions.at(draw(len(positions), len(stored["positions_yx"]), int(stored["numpy_seed"])))
    np.testing.assert_array_equal(drawn, stored["positions_yx"])

    scene = load_npz(GOLDEN / "scene_small.npz")
    patches = np.stack([scene["init"][y : y + tile, x : x + tile] for y, x in drawn])
    close(training_std(patch_std(patches)), stored["dsm_std"], 0, 1e-9)


@cases("path", files("normalise_patch"))
def test_normalise_patch(path):
    stored = load_npz(path)
    patch, nodata, std = stored["patch"][None], float(stored["nodata"]), float(stored["dsm_std"])
    mean = patch_mean(patch, nodata)
    assert mean == stored["mean"]
    assert patch_mean(known(patch, nodata)) == stored["mean"]
    normalised = normalise_heights(patch, mean, std)
    close(normalised, stored["normalised"], 1e-5, 1e-6)

    mean, std = map(float, stored["ortho_given_mean_std"])
    close(normalise_images(stored["ortho_patch"], mean, std), stored["ortho_norm_given"], 1e-5)
    for missing in (None, 0.0):
        close(normalise_images(stored["ortho_patch"], missing, std), stored["ortho_norm_sample_mean"], 1e-5)


@cases("path, match", keyed("augmentation", r"k(\d)_v(\d)_h(\d)"))
def test_augmentation(path, match):
    k, vertical, horizontal = map(int, match.groups())
    found = augment(load_npz(path)["x"], k, bool(vertical), bool(horizontal))
    np.testing.assert_array_equal(found, load_npz(path)[match[0]])


@cases("path", [path for path in files("loss") if "gt_patch" in load_npz(path)])
def test_loss_masks(path):
    stored, nodata = load_npz(path), manifest()[path.name]["nodata"]
    reference = stored["gt_patch"]
    found = reference_mask(reference, nodata)
    np.testing.assert_array_equal(found, stored["loss_mask_train"])
    np.testing.assert_array_equal(reference_mask(known(reference, nodata)), stored["loss_mask_train"])
    uly, ulx, lry, lrx = map(int, stored["val_region"])
    own = own_part(len(reference), (uly, lry), (ulx, lrx))
    np.testing.assert_array_equal(found & own, stored["loss_mask_val"])


# --- lists --------------------------------------------------------------------------------------------------------


def check_tolerated(text, pairs, images):
    """What only this parser accepts must be a list whose names are the file names of what was found."""
    lines = [names for line in text.splitlines() if (names := [name for name in re.split(r"[,\s]+", line) if name])]
    assert [[images[index].name for index in pair] for pair in pairs] == lines
    assert len({len(pair) for pair in pairs}) == 1
    assert len(set(pairs)) == len(pairs)


@cases("path, match", keyed("pairlists", r"(?!imagelist)\w+"))
def test_pair_lists(path, match, tmp_path):
    stored = load_npz(path)
    image_list, pair_list = tmp_path / "images.txt", tmp_path / "pairs.txt"
    image_list.write_text("\n".join(stored["imagelist"]))
    images = read_image_list(image_list)
    assert [image.as_posix() for image in images] == stored["imagelist"].tolist()
    text, expected = map(str, stored[match[0]])
    pair_list.write_text(text)
    if expected != "rejected":
        assert read_pair_list(pair_list, images) == tuple(map(tuple, json.loads(expected)))
        return
    try:
        pairs = read_pair_list(pair_list, images)
    except InputError as error:
        assert pair_list.name in str(error)
    else:
        check_tolerated(text, pairs, images)


# --- statistics ---------------------------------------------------------------------------------------------------


def scene_of(path):
    """Truth, initial DSM and the used masks of an evaluation case, as refbench holds them."""
    rules, used = manifest()[path.name], str(load_npz(path)["masks_used"])
    scene = load_npz(GOLDEN / rules["scene"])
    masks = {MASKS[letter]: scene["mask_gt" if letter == "g" else f"mask_{MASKS[letter]}"] for letter in used}
    if "building" in masks:
        masks["building"] = np.where(
            masks["building"] == rules["building_mask_nodata"], MASK_UNKNOWN, masks["building"]
        )
    return known(scene["gt"], rules["nodata"]), known(scene["init"], rules["nodata"]), masks


@cases("path", files("eval"))
def test_statistics(path):
    stored = load_npz(path)
    reference, initial, masks = scene_of(path)
    found = sets(reference, initial, stored["prediction"], masks, extents(stored["area"]))
    assert {f"before_{name}" for name in found} == {
        key for key in stored if key.startswith("before_") and not key.endswith("_truncated")
    }
    threshold = float(stored["threshold"])
    assert any(key.endswith("_truncated") for key in stored) == np.isfinite(threshold)
    for (name, residuals), time in product(found.items(), ("before", "after")):
        errors = residuals.initial if time == "before" else residuals.refined
        values = scores(errors)
        close([values[key] for key in STATISTICS], stored[f"{time}_{name}"], 0, 1e-6)
        if np.isfinite(threshold):
            values = scores(truncated(errors, threshold))
            close([values[key] for key in TRUNCATED], stored[f"{time}_{name}_truncated"], 0, 1e-6)


@cases("path", files("eval"))
def test_pixel_sets(path):
    stored = load_npz(path)
    reference, _, masks = scene_of(path)
    found = set_masks(~np.isnan(reference), masks, extents(stored["area"]))
    residual = np.where(found["all"], stored["prediction"].astype(np.float64) - reference, np.nan)
    np.testing.assert_array_equal(residual.astype(np.float32), stored["residual_all"])
    for name in [name for name in found if f"valid_{name}" in stored]:
        np.testing.assert_array_equal(found[name], stored[f"valid_{name}"])


PIPELINE = GOLDEN / "pipeline_small"
STATISTICS_FILE = "*_prediction_statistics.txt"
POOLED_FILE = "*_mean_over_all_stereopairs.txt"


def texts(pattern):
    found = sorted(PIPELINE.rglob(pattern))
    return [pytest.param(path, id=str(path.parent.relative_to(PIPELINE))) for path in found]


def read(path):
    """The values of a raster, its NoData masked."""
    with rasterio.open(path) as file:
        values = file.read(1)
        return np.ma.array(values) if file.nodata is None else np.ma.masked_equal(values, file.nodata)


def regions_of(dataset, shape):
    """The regions of a data set of a merged official configuration."""
    if "area_defn" not in dataset:
        return allocate(*shape, "entire", 0)["test"]
    area = dataset["area_defn"]
    return tuple(Extent(*x, *y) for x, y in zip(area["x_extent"], area["y_extent"], strict=True))


def residuals_in(folder):
    """The model section, the residuals and the pixel area of a statistics file, from the official rasters beside it."""
    root = next(place for place in (folder, *folder.parents) if (place / "config.json").is_file())
    config = load_json(root / "config.json")
    (dataset,) = [entry for entry in config["datasets"] if entry["name"] == root.name]
    masks = {
        name: np.ma.filled(read(PIPELINE / dataset[f"mask_{name}"]), MASK_UNKNOWN)
        for name in MASKS.values()
        if f"mask_{name}" in dataset
    }
    reference, initial = (np.ma.filled(read(PIPELINE / dataset[key]), np.nan) for key in ("raster_gt", "raster_in"))
    regions = regions_of(dataset, reference.shape)
    refined = np.full(reference.shape, np.nan, np.float32)
    for region, path in zip(regions, sorted(folder.glob("*_prediction*.tif")), strict=True):
        refined[region.pixels] = read(path)
    with rasterio.open(PIPELINE / dataset["raster_in"]) as file:
        pixel_area = file.res[0] * file.res[1]
    return config["model"], sets(reference, initial, refined, masks, regions), pixel_area


NUMBER = re.compile(r"[ -]*\d+\.\d+(?= m$)", re.MULTILINE)


def assert_same_text(found, path):
    """Equal but for the numbers, which take the same room and are equal within the tolerance."""
    expected = path.read_text()
    assert NUMBER.sub(lambda hit: "#" * len(hit[0]), found) == NUMBER.sub(lambda hit: "#" * len(hit[0]), expected)
    found, expected = (np.array(NUMBER.findall(text), np.float64) for text in (found, expected))
    close(found, expected, manifest()["pipeline_small"]["text_tolerance"] + 1e-9)


@cases("path", texts(STATISTICS_FILE))
def test_statistics_file(path):
    model, residuals, pixel_area = residuals_in(path.parent)
    assert_same_text(statistics_text(model["name"], model["weights"], residuals, pixel_area), path)


@cases("path", texts(POOLED_FILE))
def test_pooled_statistics_file(path):
    runs = [residuals_in(file.parent) for file in sorted(path.parent.rglob(STATISTICS_FILE))]
    model = runs[0][0]
    joined = pooled(residuals for _, residuals, _ in runs)
    assert_same_text(pooled_statistics_text(model["name"], model["weights"], joined), path)
