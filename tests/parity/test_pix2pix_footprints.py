"""Parity of the building segmentation and of the mask scores with the official code.

Cases and every parameter come from the golden folder; see ``golden_pix2pix``. Where a file holds no whole network the
weights are the recipe's.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from golden_pix2pix import cases, files, fill, golden_folder, load_npz, manifest

from refbench_pix2pix.footprints.esfp_checkpoint import infer_config, read_esfpnet
from refbench_pix2pix.footprints.esfpnet import SIZES, EsfpNet
from refbench_pix2pix.footprints.mask_metrics import curves, fraction_scores, mean_scores, sod_scores
from refbench_pix2pix.footprints.segment import segment_tile, to_input, to_mask

GOLDEN = golden_folder()
LOGITS, INPUT, METRIC = 1e-4, 1e-6, 1e-9
MASK_FRACTION = 1e-3
"""How many pixels of a mask may differ."""
SOD_KEYS = {"iou": "sod_iou", "f1_beta0.1": "sod_f1", "dice": "sod_dice", "sm": "sod_sm", "em": "sod_em"}
SOD_KEYS["mae"] = "sod_mae"
LEVELS = {"0": 0, "1": 255}


def holding(kind, *names):
    """The files of a kind that hold all these arrays."""
    return [path for path in files(kind) if set(names) <= load_npz(path).keys()]


def shapes_of(path):
    """Key -> shape, from the listed ``key (shape)``."""
    rows = (re.fullmatch(r"(\S+) \(([\d, ]*)\)", row) for row in load_npz(path)["keys"].tolist())
    return {row[1]: tuple(int(side) for side in row[2].split(",") if side.strip()) for row in rows}


def network_of(path):
    """The network of a golden file, its size taken from the listed tensors or from the pickled whole."""
    facts = manifest().get(path.name, {})
    if "pickle" in facts:
        return read_esfpnet(GOLDEN / facts["pickle"], tuple(load_npz(path)["heads"].tolist()))
    empty = {name: torch.empty(shape) for name, shape in shapes_of(path).items()}
    return fill(EsfpNet(infer_config(empty, path, tuple(facts["heads"])))).eval()


def close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def same_mask(found, expected):
    assert found.dtype == np.uint8 and np.mean(found != expected) <= MASK_FRACTION


# --- ESFPNet ------------------------------------------------------------------------------------------------------


@cases("path", holding("esfp", "keys"))
def test_keys_shapes_and_size(path):
    net, facts = network_of(path), manifest()[path.name]
    assert {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()} == shapes_of(path)
    assert net.config in SIZES.values()
    assert net.config.heads == tuple(facts["heads"]) and net.config.reductions == tuple(facts["sr_ratios"])


@cases("path", holding("esfp", "dims"))
def test_size_of_a_pickled_network(path):
    data, config = load_npz(path), network_of(path).config
    for found, name in ((config.widths, "dims"), (config.depths, "depths"), (config.heads, "heads")):
        assert found == tuple(data[name].tolist())


@cases("path", [*holding("esfp", "x", "tile8"), *holding("esfp", "x", "rgb8")])
def test_input(path):
    data = load_npz(path)
    close(to_input(data.get("tile8", data.get("rgb8"))).numpy(), data["x"], INPUT)


@cases("path", holding("esfp", "logits"))
def test_logits_and_mask(path):
    data, net = load_npz(path), network_of(path)
    tile = data.get("tile8", data.get("rgb8"))
    with torch.inference_mode():
        close(net(to_input(tile)).numpy(), data["logits"], LOGITS)
    if "mask8" in data:
        same_mask(segment_tile(net, tile, compat=True), data["mask8"])


@cases("path", holding("esfp", "mask8_shifted"))
def test_shifted_mask(path):
    data = load_npz(path)
    same_mask(to_mask(data["logits"][0, 0] - data["median"], compat=True), data["mask8_shifted"])


@cases("path", holding("esfp", "post_in"))
def test_masks_of_logits_with_and_without_the_published_bug(path):
    data = load_npz(path)
    for logits, expected in zip(data["post_in"], data["post_out"], strict=True):
        np.testing.assert_array_equal(to_mask(logits, compat=True), expected)
        is_all = bool((logits > 0).all())
        np.testing.assert_array_equal(to_mask(logits), np.full_like(expected, 255) if is_all else expected)


# --- scores of masks ----------------------------------------------------------------------------------------------


def stack(path, name):
    data = load_npz(path)
    shape = tuple(data["shape"].tolist())
    bits = np.unpackbits(data[name], count=int(np.prod(shape)))
    return (bits * np.uint8(255)).reshape(shape)


STACKS = holding("metrics", "ref", "pred", "shape")
GREY = [
    pytest.param(path, match[1], id=f"{path.stem}-{match[1]}")
    for path in files("metrics")
    for name in load_npz(path)
    if (match := re.fullmatch(r"(grey\d+)_ref", name))
]
EDGES = [
    pytest.param(path, row, id=str(case))
    for path in holding("metrics", "edge")
    for row, case in enumerate(load_npz(path)["edge_cases"].tolist())
]


@cases("path", STACKS)
@pytest.mark.parametrize("key", ["mae", "dice", "iou"])
def test_fractions_of_every_tile(path, key):
    found = [fraction_scores(*pair)[key] for pair in zip(stack(path, "pred"), stack(path, "ref"), strict=True)]
    close(found, load_npz(path)[key], METRIC)


@cases("path", STACKS)
def test_means_over_the_tiles(path):
    data = load_npz(path)
    found = mean_scores([sod_scores(*pair) for pair in zip(stack(path, "pred"), stack(path, "ref"), strict=True)])
    close([found[SOD_KEYS[name]] for name in data["sod_names"].tolist()], data["sod"], METRIC)


@cases("path, case", GREY)
def test_grey_prediction(path, case):
    data = load_npz(path)
    pair = data[f"{case}_pred"], data[f"{case}_ref"]
    found = sod_scores(*pair)
    close([found[SOD_KEYS[name]] for name in data["sod_names"].tolist()], data[f"{case}_sod"], METRIC)
    close(curves(*pair).iou, data[f"{case}_iou_curve"], METRIC)


def edge_tile(side, name):
    tile = np.full((side, side), LEVELS.get(name, 0), np.uint8)
    if name == "half":
        tile[: side // 2] = 255
    return tile


@cases("path, row", EDGES)
def test_degenerate_masks(path, row):
    data, side = load_npz(path), manifest()[path.name]["edge_tile"]
    reference, predicted = data["edge_cases"].tolist()[row].split()
    pair = edge_tile(side, predicted.removeprefix("pred")), edge_tile(side, reference.removeprefix("ref"))
    found = fraction_scores(*pair) | sod_scores(*pair)
    close([found[name] for name in data["edge_cols"].tolist()], data["edge"][row], METRIC)


@cases("path", STACKS)
def test_a_shifted_mask_is_told_apart(path):
    pairs = zip(stack(path, "pred"), stack(path, "ref"), strict=True)
    found = mean_scores([sod_scores(np.roll(predicted, 1, axis=1), reference) for predicted, reference in pairs])
    data = load_npz(path)
    for name, expected in zip(data["sod_names"].tolist(), data["sod"], strict=True):
        assert abs(found[SOD_KEYS[name]] - expected) > 1e-4
