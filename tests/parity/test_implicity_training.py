"""Parity of ImpliCity's items, losses, schedules, training and labels with the official code.

Cases and every parameter come from the golden folder and its ``manifest.json``.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import yaml
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

from refbench.training.loop import train
from refbench.training.settings import TrainSettings
from refbench.weights.checkpoint import read_checkpoint
from refbench_implicity.config import (
    ImpliCityConfig,
    LandWeights,
    LossWeights,
    ModelConfig,
    SchedulerConfig,
    TrainingConfig,
)
from refbench_implicity.network.network import build_model
from refbench_implicity.official.builder import BuildConfig, SceneFiles
from refbench_implicity.official.files import Files
from refbench_implicity.official.values import official_values
from refbench_implicity.patch_frame import Augmentation
from refbench_implicity.patches import collate
from refbench_implicity.training.dataset import SlidingWindowItems, official_items
from refbench_implicity.training.loss import occupancy_loss
from refbench_implicity.training.schedule import build_scheduler
from refbench_implicity.training.task import OccupancyTask
from refbench_implicity.training.validation import accuracy, intersection_over_union, precision_recall

GOLDEN = golden_folder()
VARIANTS = ("0", "mono", "stereo")


def typed(merged, folder):
    """A merged official configuration as refbench's own, through a file as a user would give it."""
    path = folder / "official.yaml"
    path.write_text(yaml.safe_dump(merged))
    return TypeAdapter(ImpliCityConfig).validate_python(Files().read_config(path).values)


def npz_cases(kind):
    """(npz path, name) for every case inside the files of one kind."""
    for path in files(kind):
        for name in array_items(load_npz(path)):
            yield pytest.param(path, name, id=f"{path.stem}-{name}")


@cases(("path", "name"), named_cases("dataset"))
def test_sliding_window_items(path, name, tmp_path):
    case, stored = load_json(path.with_suffix(".json"))[name], manifest()["dataset"]
    split, expected = case["split"], under(load_npz(path), name)
    chunks = {f"{split}_chunks": case["chunks"]}
    config = merged_config(case["variant"], case["override"])
    merged = on_scene(config, case["scene"], patch_size=case["patch_size"], **chunks)
    window = SlidingWindowItems(official_items(typed(merged, tmp_path), split), (case["stride"],) * 2)
    assert len(window) == case["length"]
    np.testing.assert_allclose(window.anchors, expected["anchors"], rtol=0, atol=1e-9)
    assert [window.items.chunks[i].number for i in window.chunk_of] == expected["anchor_chunk"].tolist()
    for index in range(len(window)):
        item, part = window[index], under(expected, str(index))
        assert len(item.inputs) == expected["n_inputs"][index]
        if part:
            assert item.name == case["names"][str(index)]
            first = None if index == 0 else stored["first_points"]
            check_item(item, part, first, first, 1 if index == 0 else stored["image_stride"])


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
        stored = expected["query_occ"]
        assert len(stored) in (len(item.labels), first_queries)
        np.testing.assert_array_equal(item.labels[: len(stored)], stored)
    for mask in [key for key in expected if key.startswith("mask_")]:
        np.testing.assert_array_equal(item.masks[mask.removeprefix("mask_")], expected[mask])
    if "image" in expected:
        thinned = item.image[:, ::image_stride, ::image_stride]
        np.testing.assert_allclose(thinned, expected["image"], rtol=0, atol=1e-6)
    if "image_corner" in expected:
        corner = expected["image_corner"]
        np.testing.assert_allclose(item.image[:, : corner.shape[1], : corner.shape[2]], corner, rtol=0, atol=1e-6)


def augmentations():
    """(npz path, name) of every stored pair of a flip and a rotation."""
    for path in files("dataset"):
        for name in array_items(under(load_npz(path), "augm")):
            yield pytest.param(path, name, id=f"{path.stem}-{name}")


@cases(("path", "name"), augmentations())
def test_augmentation(path, name, tmp_path):
    case, expected = manifest()["dataset"]["augm"], under(load_npz(path), f"augm/{name}")
    flip, turns = (int(part) for part in name.removeprefix("flip").split("_rot"))
    defaults = load_json(GOLDEN / "config" / f"{case['config']}.json")
    merged = on_scene(defaults, case["scene"], patch_size=case["patch_size"], train_chunks=[case["chunk"]])
    items = official_items(typed(merged, tmp_path), "train")
    item = items.cut(items.chunks[0], expected["min_bound"], name, Augmentation(turns, flip))
    assert len(item.inputs) == expected["n_inputs"]
    check_item(item, expected, case["first_inputs"], case["first_queries"], case["image_stride"])


@cases(("path", "name"), npz_cases("loss"))
def test_loss(path, name):
    case = under(load_npz(path), name)
    gt, building, forest, water = (tuple(pair) for pair in case["weights"].reshape(4, 2).tolist())
    weights = LossWeights(gt, LandWeights(building, forest, water), bool(case["balance_building"]))
    logits = torch.from_numpy(case["logits"]).requires_grad_()
    masks = {key.removeprefix("mask_"): torch.from_numpy(case[key]) for key in case if key.startswith("mask_")}
    losses = occupancy_loss(logits, torch.from_numpy(case["occ"]), masks, weights)
    losses.total.backward()
    per_point = losses.per_point.numpy().reshape(case["loss_per_point"].shape)
    np.testing.assert_allclose(per_point, case["loss_per_point"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(losses.total.item(), case["loss"], rtol=0, atol=1e-6)
    kinds = [key.removeprefix("loss_") for key in case if key.startswith("loss_") and key != "loss_per_point"]
    for kind in kinds:
        np.testing.assert_allclose(losses.by_type[kind].item(), case[f"loss_{kind}"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits.grad.numpy(), case["grad"], rtol=0, atol=1e-6)


def metric_cases():
    """(npz path, key, number of classes) of every stored set of labels."""
    classes = manifest().get("eval", {}).get("classes", {})
    for path, key in itertools.product(files("eval"), classes):
        if f"{key}/gt" in load_npz(path):
            yield pytest.param(path, key, classes[key], id=f"{path.stem}-{key}")


@cases(("path", "key", "classes"), metric_cases())
def test_query_metrics(path, key, classes):
    arrays, info = under(load_npz(path), key), load_json(path.with_suffix(".json"))[key]
    reference, predicted = arrays["gt"], arrays["pred"]
    precision, recall = precision_recall(reference, predicted, classes)
    assert accuracy(reference, predicted) == pytest.approx(info["accuracy"], abs=1e-9)
    assert precision == pytest.approx(info["precision"], abs=1e-6)
    assert recall == pytest.approx(info["recall"], abs=1e-6)
    assert intersection_over_union(reference, predicted) == pytest.approx(info["iou"], abs=1e-6)
    empty = np.empty((1, 0), reference.dtype)
    assert [accuracy(empty, empty), *precision_recall(empty, empty, classes)] == info["empty"]


@cases(("path", "name"), named_cases("lr"))
def test_learning_rate(path, name):
    every = manifest()["lr"]["iteration_step"]
    expected = load_npz(path)[f"{name}/lr"]
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = build_scheduler(optimizer, SchedulerConfig(**load_json(path.with_suffix(".json"))[name]))
    rates = []
    for iteration in range((len(expected) - 1) * every + 1):
        if iteration % every == 0:
            rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-9)


def checkpoint_cases():
    """(configuration, checkpoint) of every stored training."""
    stored = manifest().get("ckpt", {})
    for name in stored.get("checkpoints", ()):
        yield pytest.param(stored["config"], name, id=name.rpartition("/")[2])


@cases(("config", "name"), checkpoint_cases())
def test_official_checkpoints_are_resumed(config, name, tmp_path, monkeypatch):
    monkeypatch.chdir(GOLDEN)
    settings = TypeAdapter(ImpliCityConfig).validate_python(Files().read_config(GOLDEN / config).values)
    task = OccupancyTask(build_model(settings.model), [], settings.training)
    configured = task.scheduler.state_dict()
    state = task.read(GOLDEN / name)
    content = read_checkpoint(GOLDEN / name)
    assert state.step == content["n_iter"] > 0
    assert state.best == pytest.approx(float(content["loss_val_best"]))
    for key, tensor in task.model.state_dict().items():
        assert torch.equal(tensor, content["model"][key]), key
    # Base, maximum and steps of the schedule come from the file, and so does the rate of the next step.
    held = content["scheduler"]
    resumed = task.scheduler.state_dict()
    for key in ("base_lrs", "max_lrs", "total_size", "step_ratio"):
        assert resumed[key] == held[key]
    assert resumed["total_size"] != configured["total_size"]
    assert task.optimizer.param_groups[0]["lr"] == held["_last_lr"][0]
    moments = task.optimizer.state_dict()["state"]
    assert moments.keys() == content["optimizer"]["state"].keys()
    task.write(tmp_path / "again.pt", state)
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert again.keys() == content.keys() and again["model"].keys() == content["model"].keys()


@cases("variant", [v for v in VARIANTS if (GOLDEN / "config" / f"merged_{v}.json").is_file()])
def test_the_exported_configuration_is_the_published_one(variant):
    published, ours = merged_config(variant), official_values(variant)
    ours.pop("logging")
    for files_of in ("name", "path", "dsm_gt_path", "mask_files", "satellite_image"):
        published["dataset"].pop(files_of, None)
    for block, key in (("training", "resume_from"), ("test", "check_point")):
        published[block][key] = None
    assert ours == published


def label_cases():
    """(npz path, chunk name) of every chunk of every stored build."""
    for path in sorted(GOLDEN.glob("labels*/expected.npz")):
        for name in array_items(load_npz(path)):
            yield pytest.param(path, name, id=f"{path.parent.name}-{name}")


@cases(("path", "chunk"), label_cases())
def test_labels(path, chunk):
    config = BuildConfig.from_official(yaml.safe_load((path.parent / "build.yaml").read_text()), GOLDEN)
    scene, arrays = SceneFiles(config), under(load_npz(path), chunk)
    info = yaml.safe_load((path.parent / "chunk_info.yaml").read_text())
    number, entry = next((n, e) for n, e in info.items() if e["name"] == chunk)
    made = config.chunks()[number]
    low, high = scene.chunk_bounds(made)
    np.testing.assert_allclose(low, entry["min_bound"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(high, entry["max_bound"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(scene.points_inside(made), arrays["input_point_cloud/pts"])
    uniform = scene.uniform_queries(made, np.random.default_rng(0))
    assert len(uniform) == len(arrays["query--uniform/pts"]) == entry["n_query_pts-uniform"]
    for kind in [name for name in array_items(arrays) if name.startswith("query--")]:
        expected = under(arrays, kind)
        labelled = scene.labelled(expected["pts"])
        clear = distance_to_surfaces(scene, expected["pts"]) > 1e-6
        np.testing.assert_array_equal(labelled["occ"][clear], expected["occ"][clear])
        for mask in [key for key in expected if key.startswith("mask_")]:
            assert labelled[mask].dtype == expected[mask].dtype
            np.testing.assert_array_equal(labelled[mask], expected[mask])


def distance_to_surfaces(scene, points):
    """How far [N] each point is from where its label changes: the DSM's height and the terrain's."""
    to_surface = np.abs(points[:, 2] - scene.surface(points[:, :2]))
    return np.minimum(to_surface, np.abs(points[:, 2] - scene.terrain(points)[:, 2]))


def variant_of(name, case):
    """The variant of a training: named so, else told by its parameters."""
    if (variant := case.get("variant", name)) in VARIANTS:
        return variant
    has_images = any(key.startswith("image_encoder.") for key in case["param_keys"])
    return next((v for v in VARIANTS[1:] if v in name), "stereo") if has_images else "0"


def training_case(path, name, folder):
    """(case, expected arrays, batches, task) of a training with the recipe's weights."""
    case, expected = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    variant = variant_of(name, case)
    config = merged_config(variant)
    merged = on_scene(config, case["scene"], patch_size=case["patch_size"], train_chunks=case["chunks"])
    window = SlidingWindowItems(official_items(typed(merged, folder), "train"), (case["stride"],) * 2)
    batches = [collate([window[n]]) for n in range(min(len(window), case["n_batches"]))]
    model = fill(build_model(ModelConfig.of_variant(variant)))
    training = TrainingConfig(optimize_every=case["optimize_every"])
    return case, expected, batches, OccupancyTask(model, batches, training, scores_while_training=True)


@pytest.mark.slow
@cases(("path", "name"), named_cases("train"))
def test_summed_gradients(path, name, tmp_path):
    case, expected, batches, task = training_case(path, name, tmp_path)
    scores = task.evaluate_batch(batches[0])
    for key, value in case["eval_step_patch0"].items():
        assert scores[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
    found = []
    for batch in batches[: case["optimize_every"]]:
        loss, _ = task.loss(batch)
        loss.backward()
        found.append(loss.item())
    np.testing.assert_allclose(found, expected["patch_losses"], rtol=1e-4)
    named = dict(task.model.named_parameters())
    assert sorted(key for key, p in named.items() if p.grad is None) == sorted(case["no_grad_keys"])
    norms = np.array([named[key].grad.norm().item() for key in case["grad_keys"]])
    sums = np.array([named[key].grad.double().sum().item() for key in case["grad_keys"]])
    np.testing.assert_allclose(norms, expected["grad_norm"], rtol=1e-3)
    bound = 1e-3 * np.maximum(np.abs(expected["grad_sum"]), expected["grad_norm"])
    assert (np.abs(sums - expected["grad_sum"]) <= bound).all()


@pytest.mark.slow
@cases(("path", "name"), named_cases("train"))
def test_training_steps(path, name, tmp_path):
    case, expected, batches, task = training_case(path, name, tmp_path)
    steps, per_step = len(expected["lr_per_step"]), case["optimize_every"]
    if case["n_batches"] < steps * per_step:
        task.batches = batches[:per_step] * steps
    train(task, TrainSettings(steps, tmp_path, validate_every=0, tensorboard=False))
    rows = np.genfromtxt(tmp_path / "training.csv", delimiter=",", names=True, deletechars="")
    np.testing.assert_allclose(rows["lr"], expected["lr_per_step"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows["loss"][:1], expected["avg_loss_per_step"][:1], rtol=1e-4)
    np.testing.assert_allclose(rows["loss"][1:], expected["avg_loss_per_step"][1:], rtol=2e-3)
    for row, metrics in zip(rows, case["metrics_per_step"], strict=True):
        for key, value in metrics.items():
            assert row[key] == pytest.approx(value, rel=2e-3 if key.startswith("loss") else 0, abs=1e-3), key
    named = dict(task.model.named_parameters())
    norms = [named[key].detach().norm().item() for key in case["param_keys"]]
    np.testing.assert_allclose(norms, expected["param_norm_after"], rtol=1e-4)
