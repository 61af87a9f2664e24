"""Parity of ImpliCity's network and DSM generation with the official code.

Cases and every parameter come from the golden folder; see ``golden_implicity``. The weights are the recipe's.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from golden_implicity import (
    cases,
    files,
    fill,
    load_json,
    load_npz,
    manifest,
    merged_config,
    named_cases,
    on_scene,
    under,
)
from golden_implicity_rasters import HERE, NODATA, check_statistics, close, generate, golden_rasters
from pydantic import TypeAdapter

from refbench_implicity.config import ModelConfig
from refbench_implicity.method import ImpliCity
from refbench_implicity.network.network import build_model, occupancy
from refbench_implicity.official.report import evaluate_official
from refbench_implicity.official.translation import model_values, typed_config
from refbench_implicity.surface import extract_surface
from refbench_implicity.tiling import blend_profile
from refbench_implicity.training.dataset import SlidingWindowItems, official_items
from refbench_implicity.weights import trained_model

SURE = 1e-3
"""Distance of a logit from the threshold beyond which the occupancy must be equal."""


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


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
    reference, masks, grid = golden_rasters(case["scene"])
    result = evaluate_official(found, scene.grid, reference, masks, grid)
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
    size, x_fraction, y_fraction = key.split("_")
    rows, cols = (int(length) for length in size.split("x"))
    weights = np.outer(blend_profile(rows, float(y_fraction)), blend_profile(cols, float(x_fraction)))
    close(weights, load_npz(path)[f"blend/{key}"], 1e-12)
