"""Parity of ImpliCity's items, losses, schedules, training and labels with the official code.

Cases and every parameter come from the golden folder and its ``manifest.json``.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("REFBENCH_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
GOLDEN = ROOT / "implicity"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden folder {GOLDEN}")


def _json(path):
    return json.loads(path.read_text()) if path.is_file() else {}


MANIFEST = _json(GOLDEN / "manifest.json")
VARIANT_IMAGES = {"0": 0, "mono": 1, "stereo": 2}


def pairs(kind):
    """Every (npz, json content) whose name begins with ``kind``; {} where no json stands beside the npz."""
    files = sorted(GOLDEN.glob(f"{kind}*.npz")) if GOLDEN.is_dir() else []
    return [(path, _json(path.with_suffix(".json"))) for path in files]


def case_names(path):
    """The first path parts of an npz's array names."""
    with np.load(path) as arrays:
        return sorted({name.split("/")[0] for name in arrays.files})


def merge(parent, child):
    """Recursive merge of dictionaries, the child's values win."""
    merged = copy.deepcopy(parent)
    for key, value in child.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def scene_config(scene, variant, override=None, name=None, **dataset):
    """The official defaults of a variant, its data set pointed at a golden scene."""
    config = _json(GOLDEN / "config" / f"{name or 'merged_' + variant}.json")
    config["dataset"]["path"] = scene
    if block := config["dataset"].get("satellite_image"):
        block["folder"] = f"{scene}/raster"
        block["pairs"] = [f"ortho_{i}.tif" for i in range(len(block["pairs"]))]
    config["dataset"].update(dataset)
    return merge(config, override or {})


DATASETS = [(path, info, name) for path, info in pairs("dataset") for name in info]


@pytest.mark.parametrize(("path", "info", "name"), DATASETS, ids=[f"{p.stem}-{n}" for p, _, n in DATASETS])
def test_sliding_window_items(path, info, name):
    from refbench_implicity.dataset import SlidingWindowItems, official_items

    case, manifest = info[name], MANIFEST["dataset"]
    split = case["split"]
    config = scene_config(
        case["scene"],
        case["variant"],
        case["override"],
        patch_size=case["patch_size"],
        **{f"{split}_chunks": case["chunks"]},
    )
    window = SlidingWindowItems(official_items(config, split, GOLDEN), (case["stride"],) * 2)
    with np.load(path) as golden:
        expected = {key.removeprefix(f"{name}/"): golden[key] for key in golden.files if key.startswith(f"{name}/")}
    assert len(window) == case["length"]
    np.testing.assert_allclose(window.anchors, expected["anchors"], rtol=0, atol=1e-9)
    assert [window.items.chunks[i].number for i in window.chunk_of] == expected["anchor_chunk"].tolist()
    indices = sorted({int(key.split("/")[0]) for key in expected if key[0].isdigit()})
    for index in range(len(window)):
        item = window[index]
        assert len(item.inputs) == expected["n_inputs"][index]
        if index in indices:
            part = {k.split("/", 1)[1]: v for k, v in expected.items() if k.startswith(f"{index}/")}
            assert item.name == case["names"][str(index)]
            whole = index == 0
            first = None if whole else manifest["first_points"]
            check_item(item, part, first, first, 1 if whole else manifest["image_stride"])


def check_item(item, expected, first_inputs, first_queries, image_stride):
    """Compare an item with its golden arrays; points are stored up to the first so many, images thinned."""
    bound = 1e-9 * np.maximum(1, np.abs(expected["transform"]))
    assert (np.abs(item.transform - expected["transform"]) <= bound).all()
    np.testing.assert_allclose(item.low, expected["min_bound"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(item.inputs[:first_inputs], expected["inputs"], rtol=0, atol=2e-6)
    if "max_bound" in expected:
        np.testing.assert_allclose(item.high, expected["max_bound"], rtol=0, atol=1e-9)
    if "query_pts" in expected:
        np.testing.assert_allclose(item.query[:first_queries], expected["query_pts"], rtol=0, atol=2e-6)
        np.testing.assert_array_equal(item.labels[: len(expected["query_occ"])], expected["query_occ"])
    for mask in [key for key in expected if key.startswith("mask_")]:
        np.testing.assert_array_equal(item.masks[mask.removeprefix("mask_")], expected[mask])
    if "image" in expected:
        thinned = item.image[:, ::image_stride, ::image_stride]
        np.testing.assert_allclose(thinned, expected["image"], rtol=0, atol=1e-6)
    if "image_corner" in expected:
        corner = expected["image_corner"]
        np.testing.assert_allclose(item.image[:, : corner.shape[1], : corner.shape[2]], corner, rtol=0, atol=1e-6)


def augmentation_cases():
    for path, _ in pairs("dataset"):
        with np.load(path) as golden:
            for name in sorted({k.split("/")[1] for k in golden.files if k.startswith("augm/")}):
                yield path, name


AUGMENTATIONS = list(augmentation_cases())


@pytest.mark.parametrize(("path", "name"), AUGMENTATIONS, ids=[f"{p.stem}-{n}" for p, n in AUGMENTATIONS])
def test_augmentation(path, name):
    from refbench_implicity.augment import Augmentation
    from refbench_implicity.dataset import official_items

    case = MANIFEST["dataset"]["augm"]
    flip, turns = (int(part) for part in name.removeprefix("flip").split("_rot"))
    config = scene_config(
        case["scene"], case["variant"], name=case["config"], patch_size=case["patch_size"], train_chunks=[case["chunk"]]
    )
    items = official_items(config, "train", GOLDEN)
    with np.load(path) as golden:
        prefix = f"augm/{name}/"
        expected = {key.removeprefix(prefix): golden[key] for key in golden.files if key.startswith(prefix)}
    item = items.cut(items.chunks[0], expected["min_bound"], name, Augmentation(turns, flip))
    assert len(item.inputs) == expected["n_inputs"]
    check_item(item, expected, case["first_inputs"], case["first_queries"], case["image_stride"])


LOSSES = [(path, name) for path, _ in pairs("loss") for name in case_names(path)]


@pytest.mark.parametrize(("path", "name"), LOSSES, ids=[f"{p.stem}-{n}" for p, n in LOSSES])
def test_loss(path, name):
    import torch

    from refbench_implicity.config import LandWeights, LossWeights
    from refbench_implicity.loss import occupancy_loss

    with np.load(path) as golden:
        case = {key.removeprefix(f"{name}/"): golden[key] for key in golden.files if key.startswith(f"{name}/")}
    gt, building, forest, water = (tuple(pair) for pair in case["weights"].reshape(4, 2).tolist())
    weights = LossWeights(gt, LandWeights(building, forest, water), bool(case["balance_building"]))
    logits = torch.from_numpy(case["logits"]).requires_grad_()
    masks = {key.removeprefix("mask_"): torch.from_numpy(case[key]) for key in case if key.startswith("mask_")}
    losses = occupancy_loss(logits, torch.from_numpy(case["occ"]), masks, weights)
    losses.total.backward()
    per_point = losses.per_point.numpy().reshape(case["loss_per_point"].shape)
    np.testing.assert_allclose(per_point, case["loss_per_point"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(losses.total.item(), case["loss"], rtol=0, atol=1e-6)
    for kind, value in losses.by_type.items():
        np.testing.assert_allclose(value.item(), case[f"loss_{kind}"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits.grad.numpy(), case["grad"], rtol=0, atol=1e-6)


METRICS = [
    (path, key, info[key], MANIFEST["eval"]["classes"][key])
    for path, info in pairs("eval")
    for key in MANIFEST.get("eval", {}).get("classes", {})
    if key in info
]


@pytest.mark.parametrize(("path", "key", "info", "classes"), METRICS, ids=[f"{c[0].stem}-{c[1]}" for c in METRICS])
def test_query_metrics(path, key, info, classes):
    from refbench_implicity.validation import accuracy, intersection_over_union, precision_recall

    with np.load(path) as golden:
        truth, predicted = golden[f"{key}/gt"], golden[f"{key}/pred"]
    precision, recall = precision_recall(truth, predicted, classes)
    assert accuracy(truth, predicted) == pytest.approx(info["accuracy"], abs=1e-9)
    assert precision == pytest.approx(info["precision"], abs=1e-6)
    assert recall == pytest.approx(info["recall"], abs=1e-6)
    assert intersection_over_union(truth, predicted) == pytest.approx(info["iou"], abs=1e-6)
    empty = np.empty((1, 0), truth.dtype)
    assert [accuracy(empty, empty), *precision_recall(empty, empty, classes)] == info["empty"]


LABELS = [
    (path, name)
    for path in (sorted(GOLDEN.glob("labels*/expected.npz")) if GOLDEN.is_dir() else [])
    for name in case_names(path)
]


@pytest.mark.parametrize(("path", "chunk"), LABELS, ids=[f"{p.parent.name}-{n}" for p, n in LABELS])
def test_labels(path, chunk):
    import yaml

    from refbench_implicity.builder import BuildConfig, SceneFiles

    config = BuildConfig.from_official(yaml.safe_load((path.parent / "build.yaml").read_text()), GOLDEN)
    files = SceneFiles(config)
    info = yaml.safe_load((path.parent / "chunk_info.yaml").read_text())
    number, entry = next((n, e) for n, e in info.items() if e["name"] == chunk)
    made = config.chunks()[number]
    low, high = files.chunk_bounds(made)
    np.testing.assert_allclose(low, entry["min_bound"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(high, entry["max_bound"], rtol=0, atol=1e-6)
    with np.load(path) as golden:
        arrays = {key.removeprefix(f"{chunk}/"): golden[key] for key in golden.files if key.startswith(f"{chunk}/")}
    np.testing.assert_array_equal(files.points_inside(made), arrays["input_point_cloud/pts"])
    uniform = files.uniform_queries(made, np.random.default_rng(0))
    assert len(uniform) == len(arrays["query--uniform/pts"]) == entry["n_query_pts-uniform"]
    for kind in sorted({key.split("/")[0] for key in arrays if key.startswith("query--")}):
        points = arrays[f"{kind}/pts"]
        labelled = files.labelled(points)
        clear = files.distance_to_surfaces(points) > 1e-6
        np.testing.assert_array_equal(labelled["occ"][clear], arrays[f"{kind}/occ"][clear])
        for mask in [key for key in arrays if key.startswith(f"{kind}/mask_")]:
            made_mask = labelled[mask.split("/")[1]]
            assert made_mask.dtype == arrays[mask].dtype
            np.testing.assert_array_equal(made_mask, arrays[mask])


def fill(model):
    """Write the golden recipe's weights into a model and return it."""
    import torch

    spec = importlib.util.spec_from_file_location("golden_fill", ROOT / "fill.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with torch.no_grad():
        recipe.fill_state_dict(model.state_dict())
    return model


SCHEDULES = [(path, info, name) for path, info in pairs("lr") for name in info]


@pytest.mark.parametrize(("path", "info", "name"), SCHEDULES, ids=[f"{p.stem}-{n}" for p, _, n in SCHEDULES])
def test_learning_rate(path, info, name):
    import torch

    from refbench_implicity.config import SchedulerConfig
    from refbench_implicity.schedule import build_scheduler

    every = MANIFEST["lr"]["iteration_step"]
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = build_scheduler(optimizer, SchedulerConfig(**info[name]))
    with np.load(path) as golden:
        expected = golden[f"{name}/lr"]
    rates = []
    for iteration in range((len(expected) - 1) * every + 1):
        if iteration % every == 0:
            rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-9)


TRAININGS = [(path, info[name], name) for path, info in pairs("train") for name in info]


@pytest.mark.parametrize(("path", "case", "name"), TRAININGS, ids=[f"{p.stem}-{n}" for p, _, n in TRAININGS])
def test_training(path, case, name, tmp_path):
    import torch

    from refbench.training.loop import train
    from refbench.training.settings import TrainSettings
    from refbench_implicity.config import ModelConfig, TrainingConfig
    from refbench_implicity.dataset import SlidingWindowItems, official_items
    from refbench_implicity.network import build_model
    from refbench_implicity.patches import collate
    from refbench_implicity.tasks import OccupancyTask

    torch.set_num_threads(2)
    per_step = case["optimize_every"]
    with np.load(path) as golden:
        expected = {key.removeprefix(f"{name}/"): golden[key] for key in golden.files if key.startswith(f"{name}/")}
    variant = name if name in VARIANT_IMAGES else case.get("variant", "0")
    config = scene_config(case["scene"], variant, patch_size=case["patch_size"], train_chunks=case["chunks"])
    window = SlidingWindowItems(official_items(config, "train", GOLDEN), (case["stride"],) * 2)
    batches = [collate([window[n]]) for n in range(min(len(window), case["n_batches"]))]
    model = fill(build_model(ModelConfig.of_variant(variant)))
    training = TrainingConfig(optimize_every=per_step)
    task = OccupancyTask(model, batches, training, scores_while_training=True)

    scores = task.evaluate_batch(batches[0])
    for key, value in case["eval_step_patch0"].items():
        assert scores[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key

    losses = [task.loss(batch)[0] for batch in batches[:per_step]]
    np.testing.assert_allclose([loss.item() for loss in losses], expected["patch_losses"], rtol=1e-4)
    for loss in losses:
        loss.backward()
    named = dict(model.named_parameters())
    without = sorted(key for key, parameter in named.items() if parameter.grad is None)
    assert without == sorted(case["no_grad_keys"])
    norms = np.array([named[key].grad.norm().item() for key in case["grad_keys"]])
    sums = np.array([named[key].grad.double().sum().item() for key in case["grad_keys"]])
    np.testing.assert_allclose(norms, expected["grad_norm"], rtol=1e-3)
    bound = 1e-3 * np.maximum(np.abs(expected["grad_sum"]), expected["grad_norm"])
    assert (np.abs(sums - expected["grad_sum"]) <= bound).all()

    model.zero_grad(set_to_none=True)
    steps = len(expected["lr_per_step"])
    if case["n_batches"] < steps * per_step:
        task.batches = (batches[:per_step]) * steps
    settings = TrainSettings(steps, tmp_path, validate_every=0, tensorboard=False)
    train(task, settings)
    rows = np.genfromtxt(tmp_path / "training.csv", delimiter=",", names=True, deletechars="")
    np.testing.assert_allclose(rows["lr"], expected["lr_per_step"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows["loss"][:1], expected["avg_loss_per_step"][:1], rtol=1e-4)
    np.testing.assert_allclose(rows["loss"][1:], expected["avg_loss_per_step"][1:], rtol=2e-3)
    for row, metrics in zip(rows, case["metrics_per_step"], strict=True):
        for key, value in metrics.items():
            assert row[key] == pytest.approx(value, rel=2e-3 if key.startswith("loss") else 0, abs=1e-3), key
    norms = [named[key].detach().norm().item() for key in case["param_keys"]]
    np.testing.assert_allclose(norms, expected["param_norm_after"], rtol=1e-4)
