"""Parity of ImpliCity's network, DSM generation, evaluation and files with the official code.

Cases and every parameter come from the golden folder; see ``golden_implicity``. The weights are the recipe's.
"""

from __future__ import annotations

import dataclasses
import math
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from golden_implicity import (
    array_items,
    cases,
    files,
    fill,
    golden_folder,
    load_json,
    load_npz,
    manifest,
    merged_config,
    named_cases,
    on_scene,
    under,
)
from pydantic import TypeAdapter

from refbench.contracts.grid import Grid
from refbench.contracts.method import Context
from refbench.contracts.need import Need
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench_implicity.config import ImpliCityConfig, ModelConfig
from refbench_implicity.method import ImpliCity
from refbench_implicity.network.network import build_model, occupancy
from refbench_implicity.official.config import read_official
from refbench_implicity.official.files import Files
from refbench_implicity.official.report import BUILDING_DILATION, evaluate_official
from refbench_implicity.official.scene import official_scene
from refbench_implicity.official.translation import model_values, typed_config
from refbench_implicity.patches import collate
from refbench_implicity.surface import extract_surface
from refbench_implicity.tiling import blend_profile
from refbench_implicity.training.dataset import SlidingWindowItems, official_items
from refbench_implicity.training.task import OccupancyTask
from refbench_implicity.training.validation import accuracy, intersection_over_union, precision_recall
from refbench_implicity.weights import filled_network, read_model, trained_model

GOLDEN = golden_folder()
NODATA = -9999.0
HERE = Path("case.yaml")
SURE = 1e-3
"""Distance of a logit from the threshold beyond which the occupancy must be equal."""


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def close(found, expected, tolerance):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def typed_model(section):
    return TypeAdapter(ModelConfig).validate_python(model_values(section, HERE))


def check_shapes(net, expected, parameters):
    assert [(key, list(value.shape)) for key, value in net.state_dict().items()] == [
        (key, list(shape)) for key, shape in expected.items()
    ]
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def check_occupancy(logits, expected, occ, threshold):
    """Equal wherever the expected logits are clearly on one side."""
    found = occupancy(logits, threshold).numpy()
    if expected.shape[-1] == 1:
        margin = np.abs(expected - math.log(threshold / (1 - threshold)))
    else:
        ordered = np.sort(expected, axis=-1)
        margin = ordered[..., -1] - ordered[..., -2]
    sure = margin > SURE
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(found[sure], occ[sure])


# --- networks -----------------------------------------------------------------------------------------------------


@cases("path, name", [(path, name) for path in files("state_dict_keys", ".json") for name in load_json(path)])
def test_state_dict_keys(path, name):
    expected = load_json(path)[name]
    net = build_model(ModelConfig.of_variant(name.rpartition("-")[2]))
    check_shapes(net, expected["state_dict"], expected["n_parameters"])


@cases("path", files("forward"))
@torch.no_grad()
def test_forward(path):
    arrays, rules = load_npz(path), manifest()["forward"]
    image = None
    if "image_int8" in arrays:
        image = tensor(arrays["image_int8"].astype(np.float32) * np.float32(rules["image_scale"]))
    net = fill(build_model(ModelConfig.of_variant(("0", "mono", "stereo")[0 if image is None else image.shape[1]])))
    points = tensor(arrays["inputs"])
    features = net.points_module.point_features(points)
    planes = net.encode(points, image)
    logits = net.decode(planes, tensor(arrays["query"]))
    if "point_feat" in arrays:
        close(features[:, :: rules["point_feat_stride"]], arrays["point_feat"], 1e-4)
    c, y, x = (slice(None, None, step) for step in rules["plane_xy_stride"])
    if "plane_before_unet" in arrays:
        close(net.points_module.scatter(points, features)[:, c, y, x], arrays["plane_before_unet"], 1e-4)
    if "plane_xy" in arrays:
        close(planes.xy[:, c, y, x], arrays["plane_xy"], 1e-4)
    if "plane_image" in arrays:
        c, y, x = (slice(None, None, step) for step in rules["plane_image_stride"])
        close(planes.image[:, c, y, x], arrays["plane_image"], 1e-4)
    close(logits, arrays["logits"], 2e-4)
    check_occupancy(logits, arrays["logits"], arrays["occ"], rules["threshold"])


@cases("path, name", named_cases("options"))
@torch.no_grad()
def test_options(path, name):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    rules = manifest()["options"]
    net = fill(build_model(typed_model(case["model"])))
    check_shapes(net, case["state_dict"], case["n_parameters"])
    image = tensor(arrays["image"]) if "image" in arrays else None
    planes = net.encode(tensor(arrays["inputs"]), image)
    logits = net.decode(planes, tensor(arrays["query"]))
    c, y, x = (slice(None, None, step) for step in rules["plane_xy_stride"])
    if "plane_xy" in arrays:
        close(planes.xy[:, c, y, x], arrays["plane_xy"], 1e-4)
    if "plane_image" in arrays:
        c, y, x = (slice(None, None, step) for step in rules["plane_image_stride"])
        close(planes.image[:, c, y, x], arrays["plane_image"], 1e-4)
    close(logits, arrays["logits"], 1e-4)
    check_occupancy(logits, arrays["logits"], arrays["occ"], case["threshold"])


# --- DSM generation -----------------------------------------------------------------------------------------------


def dsm_config(case):
    """The merged official configuration of a DSM case."""
    config = on_scene(
        merged_config(case["variant"], case["override"]),
        case["scene"],
        patch_size=case["patch_size"],
        test_chunks=case["chunks"],
    )
    config["dataset"]["sliding_window"]["test_strip"] = [case["stride"], case["stride"]]
    config["test"]["check_point"] = None
    return config


def generate(method, config):
    """Heights float32 of the whole test split through the engine, NaN where there is none, and their scene."""
    scene = official_scene(config.dataset)
    assert scene.grid is not None
    method.prepare(scene, Context())
    writer = ArrayWriter(np.full(scene.grid.shape, np.nan, np.float32))
    plan = run_tiles(method, scene, Context(), writer, needs=(Need.POINTS,), fills=True)
    return writer.heights, scene, plan


def check_statistics(found, expected, tolerance):
    assert set(found) == set(expected)
    for kind, values in expected.items():
        for key, value in values.items():
            if value is None:
                assert found[kind][key] is None, (kind, key)
            else:
                assert found[kind][key] == pytest.approx(value, rel=0, abs=tolerance), (kind, key)


def golden_rasters(scene):
    """Ground truth, masks and their grid."""
    with rasterio.open(GOLDEN / scene / "raster" / "gt_dsm.tif") as file:
        truth, grid = file.read(1).astype(np.float64), Grid(file.width, file.height, file.transform)
    masks = {}
    for name in ("gt", "building", "forest", "water"):
        with rasterio.open(GOLDEN / scene / "raster" / f"mask_{name}.tif") as file:
            masks[name] = file.read(1)
    return truth, masks, grid


def trained(config, decoder):
    """The weights of the recipe's encoders and a fitted decoder."""
    method = ImpliCity(config)
    fill(method.net, decoder)
    return trained_model(method.net, method.normalisation, method.constants)


@cases("path, name", named_cases("dsm"))
def test_dsm(path, name, tmp_path):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    config = typed_config(dsm_config(case), HERE)
    trained(config, under(arrays, "decoder")).save(tmp_path / "weights")
    heights, scene, plan = generate(ImpliCity(config, tmp_path / "weights"), config)
    assert len(plan) == case["n_patches"]
    assert list(heights.shape) == case["shape"]
    assert list(scene.grid.transform)[:6] == case["transform"]
    found = np.where(np.isnan(heights), NODATA, heights)
    assert int((found == NODATA).sum()) == case["n_nodata"]
    off = np.abs(found - arrays["dsm"])
    assert (off <= 0.005).mean() >= 0.99
    if case["stats"].get("overall") is None:
        return
    truth, masks, grid = golden_rasters(case["scene"])
    result = evaluate_official(found, scene.grid, truth, masks, grid)
    check_statistics(result.statistics, case["stats"], 1e-2)
    if "residual" in arrays:
        step = manifest()["dsm"]["residual_stride"]
        residual, expected = result.residual[::step, ::step], arrays["residual"]
        np.testing.assert_array_equal(np.isnan(residual), np.isnan(expected))
        inside = ~np.isnan(expected)
        assert (np.abs(residual - expected)[inside] <= 0.005).mean() >= 0.99


def dsm_patches():
    """(npz, case, number of the patch) for every stored patch."""
    found = []
    for path, name in (case.values for case in named_cases("dsm")):
        keys = under(load_npz(path), name)
        numbers = sorted({int(match[1]) for key in keys if (match := re.fullmatch(r"patch(\d+)_h_norm", key))})
        found += [pytest.param(path, name, number, id=f"{path.stem}-{name}-{number}") for number in numbers]
    return found


@cases("path, name, number", dsm_patches())
@torch.no_grad()
def test_dsm_patch(path, name, number):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    official = dsm_config(case)
    config = typed_config(official, HERE)
    method = ImpliCity(config)
    net = fill(method.net, under(arrays, "decoder"))
    stride = (float(case["stride"]),) * 2
    item = SlidingWindowItems(official_items(config, "test"), stride=stride)[number]
    planes = net.encode(tensor(item.inputs)[None], None if item.image is None else tensor(item.image)[None])
    pixel = official["dsm_generation"]["pixel_size"]
    shape = tuple(round(case["patch_size"][axis] / pixel[axis]) for axis in (1, 0))
    z_std = official["dataset"]["normalize"]["z_std"]
    surface = extract_surface(net, planes, shape, config.surface, z_std=z_std, threshold=official["test"]["threshold"])
    expected = arrays[f"patch{number}_h_norm"]
    step = shape[0] // expected.shape[0]
    if number == 0:
        assert abs(int(surface.empty.sum()) - case["n_empty_patch0"]) <= 0.005 * surface.empty.size
    empty = surface.empty[::step, ::step]
    off = np.abs(np.where(empty, 0, surface.z[::step, ::step]) - expected) * z_std
    last_step = config.surface.h_resolution_0 / 4**config.surface.h_upsampling_steps
    assert (off <= 0.002).mean() >= 0.995
    assert (off > last_step + 0.007).sum() <= 5
    assert (empty == arrays[f"patch{number}_empty"]).mean() >= 0.995


BLENDS = [(path, key) for path in files("dsm") for key in under(load_npz(path), "blend")]


@cases("path, key", BLENDS)
def test_blend(path, key):
    size, x_share, y_share = key.split("_")
    rows, cols = (int(length) for length in size.split("x"))
    weights = np.outer(blend_profile(rows, float(y_share)), blend_profile(cols, float(x_share)))
    close(weights, load_npz(path)[f"blend/{key}"], 1e-12)


# --- evaluation ---------------------------------------------------------------------------------------------------


def eval_cases(what):
    """(npz, case) of the evaluations that hold an array ``what``."""
    return [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path in files("eval")
        for name in array_items(load_npz(path))
        if f"{name}/{what}" in load_npz(path)
    ]


@cases("path, name", eval_cases("target"))
def test_eval(path, name):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    rules = manifest()["eval"]
    truth, masks, truth_grid = golden_rasters(rules["scene"])
    rows, cols = arrays["target"].shape
    grid = Grid(cols, rows, Affine(*case["transform"]))
    dilation = rules.get("building_dilation", BUILDING_DILATION)
    result = evaluate_official(arrays["target"], grid, truth, masks, truth_grid, dilation)
    check_statistics(result.statistics, case["stats"], 1e-9)
    if "residual" in arrays:
        close(result.residual, arrays["residual"], 1e-9)
    if "report" in case:
        title = case["report"].splitlines()[2]
        created = datetime(2022, 9, 1, 12, 0, 0)
        report = result.report(title, created).replace("2022-09-01 12:00:00", "<timestamp>")
        assert report == case["report"]


@cases("path, name", eval_cases("pred"))
def test_eval_classes(path, name):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    classes = manifest()["eval"]["classes"][name]
    truth, predicted = arrays["gt"], arrays["pred"]
    precision, recall = precision_recall(truth, predicted, classes)
    assert accuracy(truth, predicted) == pytest.approx(case["accuracy"], abs=1e-9)
    assert precision == pytest.approx(case["precision"], abs=1e-6)
    assert recall == pytest.approx(case["recall"], abs=1e-6)
    assert intersection_over_union(truth, predicted) == pytest.approx(case["iou"], abs=1e-6)
    if "empty" in case:
        nothing = np.empty(0)
        found = [accuracy(nothing, nothing), *precision_recall(nothing, nothing, classes)]
        assert found == pytest.approx(case["empty"], abs=1e-9)


# --- checkpoints and configurations -------------------------------------------------------------------------------

CKPT = manifest().get("ckpt", {})
CHECKPOINTS = [name for name in CKPT.get("checkpoints", []) if (GOLDEN / name).is_file()]


@pytest.fixture
def beside_golden(monkeypatch):
    """The golden folder as working directory: official paths start there."""
    monkeypatch.chdir(GOLDEN)


def ckpt_config():
    translated = Files().read_config(Path(CKPT["config"]))
    assert translated is not None
    return TypeAdapter(ImpliCityConfig).validate_python(translated.values)


def ckpt_expected():
    return load_json(GOLDEN / Path(CKPT["config"]).parent / "expected.json")


@cases("checkpoint", CHECKPOINTS)
def test_ckpt_dsm(checkpoint, beside_golden, tmp_path):
    """Import with the configuration, generate the DSM from the weights folder alone, evaluate."""
    expected, folder = ckpt_expected(), GOLDEN / Path(CKPT["config"]).parent
    Files().import_weights(Path(checkpoint), tmp_path / "weights", {"config": CKPT["config"]})
    config = dataclasses.replace(ckpt_config(), model=None)
    method = ImpliCity(config, tmp_path / "weights")
    assert {key: list(value.shape) for key, value in method.net.state_dict().items()} == expected["state_dict"]
    heights, scene, _ = generate(method, config)
    found = np.where(np.isnan(heights), NODATA, heights)
    wanted = load_npz(folder / "expected.npz")["dsm"]
    assert (np.abs(found - wanted) <= 0.005).mean() >= 0.99
    truth, masks, grid = golden_rasters(Path(config.dataset.path).name)
    check_statistics(evaluate_official(found, scene.grid, truth, masks, grid).statistics, expected["stats"], 1e-2)
    if (folder / "expected_dsm.tiff").is_file():
        with rasterio.open(folder / "expected_dsm.tiff") as file:
            assert list(file.transform)[:6] == list(scene.grid.transform)[:6]
            assert file.crs == scene.grid.crs
            assert (np.abs(found - file.read(1)) <= 0.005).mean() >= 0.99


@cases("checkpoint", CHECKPOINTS)
def test_ckpt_validation(checkpoint, beside_golden):
    """The official validation metrics of the checkpoint on the val split."""
    config, expected = ckpt_config(), ckpt_expected()
    net = filled_network(read_model(Path(checkpoint)), config.model)
    items = SlidingWindowItems(official_items(config, "val"))
    batches = [collate([items[index]]) for index in range(len(items))]
    found = OccupancyTask(net, items, config.training, validation=batches).validate(torch.device("cpu"))
    for key, value in expected["val"].items():
        assert found[key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


@cases("config", [CKPT["config"]] if (GOLDEN / CKPT.get("config", "?")).is_file() else [])
def test_ckpt_config(config, beside_golden):
    assert read_official(Path(config)) == ckpt_expected()["config"]


CONFIGS = [
    (folder, name)
    for folder in sorted(GOLDEN.glob("config*"))
    if (folder / "expected.json").is_file()
    for name in load_json(folder / "expected.json")
]


@cases("folder, name", CONFIGS)
def test_config_inheritance(folder, name, beside_golden):
    assert read_official(folder.relative_to(GOLDEN) / f"{name}.yaml") == load_json(folder / "expected.json")[name]


@cases("folder, name", CONFIGS)
def test_config_inheritance_from_elsewhere(folder, name, monkeypatch, tmp_path):
    """What is not in the working directory is found from the file."""
    monkeypatch.chdir(tmp_path)
    assert read_official(folder / f"{name}.yaml") == load_json(folder / "expected.json")[name]


@cases("path", [path for folder in sorted(GOLDEN.glob("config*")) for path in sorted(folder.glob("merged_*.json"))])
def test_config_merged(path):
    """Every key of the official chain is known and arrives in the typed configuration."""
    official = load_json(path)
    config = typed_config(official, HERE)
    assert config.model == ModelConfig.of_variant(path.stem.removeprefix("merged_"))
    assert config.patch_size == official["dataset"]["patch_size"][0]
    assert list(config.surface.h_range) == official["dsm_generation"]["h_range"]
    assert config.normalisation.z_std == official["dataset"]["normalize"]["z_std"]
    assert config.training.scheduler.max_lr == official["training"]["scheduler"]["kwargs"]["max_lr"]
    assert list(config.training.loss_weights.land.forest) == official["training"]["loss_weights"]["land"]["forest"]
