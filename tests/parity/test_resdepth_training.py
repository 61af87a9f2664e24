"""Parity of ResDepth's samples, loss, optimiser steps and run folders with the official code.

Cases and every parameter come from the golden folder; see ``golden_resdepth``. The weights are the recipe's.
"""

from __future__ import annotations

import json
import re
import shutil
import stat

import numpy as np
import pytest
import torch
from affine import Affine
from golden_resdepth import cases, files, fill, golden_folder, load_json, load_npz, manifest, network
from run_refbench import refbench

from refbench import DSM, Grid, Image
from refbench.formats.raster import ArraySource
from refbench.weights.checkpoint import read_checkpoint, read_pickle
from refbench_resdepth.config import ModelConfig, OptimizerConfig
from refbench_resdepth.regions import Extent
from refbench_resdepth.scale import Scale
from refbench_resdepth.training.loss import metric_l1
from refbench_resdepth.training.samples import Area, Cutter, GridSamples
from refbench_resdepth.training.statistics import height_scale, image_statistics
from refbench_resdepth.training.task import build_optimizer

GOLDEN = golden_folder()


@cases("path", [path for path in files("loss") if "y_pred" in load_npz(path)])
def test_loss(path):
    data = load_npz(path)
    predicted = torch.from_numpy(data["y_pred"]).requires_grad_()
    target, mask = torch.from_numpy(data["y"]), torch.from_numpy(data["mask"])
    loss = metric_l1(predicted, target, mask, torch.from_numpy(data["mean"]), torch.from_numpy(data["std"]))
    assert loss.item() == pytest.approx(float(data["loss"]), rel=1e-5)
    loss.backward()
    np.testing.assert_allclose(predicted.grad.numpy(), data["grad"], rtol=0, atol=1e-6)


@cases("path", files("training_steps"))
def test_training_steps(path):
    data, facts = load_npz(path), manifest()[path.name]
    net = fill(network(data["settings_json"])).train().to(memory_format=torch.channels_last)
    optimizer = build_optimizer(net, OptimizerConfig(facts["optimizer"], facts["learning_rate"], facts["weight_decay"]))
    first = {}
    for step, expected in enumerate(data["losses"]):
        batch = [torch.from_numpy(data[key][step]) for key in ("x", "y", "mask", "mean", "std")]
        x, *rest = batch
        loss = metric_l1(net(x.contiguous(memory_format=torch.channels_last)), *rest)
        assert loss.item() == pytest.approx(float(expected), rel=1e-5)
        optimizer.zero_grad()
        loss.backward()
        if not first:
            first = {name: float(parameter.grad.norm()) for name, parameter in net.named_parameters()}
        optimizer.step()
    for name, norm in zip(data["grad_names"], data["grad_norms"], strict=True):
        assert first[str(name)] == pytest.approx(float(norm), rel=1e-4, abs=1e-6), name
    state = net.state_dict()
    for key in (key for key in data if "running" in key):
        np.testing.assert_allclose(state[key.replace("__", ".")].numpy(), data[key], rtol=0, atol=1e-5)
    net.eval()
    index = int(re.search(r"\d+", facts.get("y_eval_after_input", "x[0]")).group())
    with torch.no_grad():
        y = net(torch.from_numpy(data["x"][index])).numpy()
    np.testing.assert_allclose(y, data["y_eval_after"], rtol=0, atol=1e-4)


def golden_area(scene, nodata, tuples, extents=None):
    """The rasters of a golden scene as an area over the whole raster."""
    grid = Grid(scene["init"].shape[1], scene["init"].shape[0], Affine(0.25, 0, 0, 0, -0.25, 0))

    def heights(values):
        return ArraySource(DSM(np.where(values == nodata, np.nan, values).astype(np.float32), grid))

    images = {str(i): ArraySource(Image(band[None], grid)) for i, band in enumerate(scene["orthos"])}
    whole = (Extent(0, grid.width - 1, 0, grid.height - 1),)
    named = tuple(tuple(map(str, chosen)) for chosen in tuples)
    return Area("golden", heights(scene["init"]), heights(scene["gt"]), images, named, extents or whole)


def sample_cases():
    for path in files("dataset_samples"):
        for key in load_npz(path):
            if match := re.fullmatch(r"(.+)_(val|test)_(\d+)_index_of_len", key):
                yield pytest.param(path, *match.groups(), id=f"{path.stem}-{key}")


@cases("path, mode, kind, number", sample_cases())
def test_samples(path, mode, kind, number):
    data, facts = load_npz(path), manifest()[path.name]
    case = {key.removeprefix(f"{mode}_{kind}_{number}_"): data[key] for key in data}
    dsm_std, image_mean, image_std = data["params"].tolist()
    pairs = json.loads(str(data["pairs_json"]))
    chosen = pairs.get(mode, [])
    tuples = [tuple(chosen)] if not chosen or isinstance(chosen[0], int) else [tuple(names) for names in chosen]
    views = len(tuples[0])
    model = ModelConfig(
        input_channels=mode,
        outer_skip=mode != "stereo",
        **({"n_views": views} if views > 2 else {}),
    )
    cutter = Cutter(model, Scale(dsm_std, "fixed", image_mean, image_std), facts["tile"])
    area = golden_area(load_npz(GOLDEN / facts["scene"]), facts["nodata"], tuples)
    samples = GridSamples([area], cutter, facts[f"stride_{kind}"])
    index, length = case["index_of_len"].tolist()
    assert len(samples) == length
    sample = samples[index]
    np.testing.assert_allclose(sample["x"], case["input"], rtol=0, atol=1e-5)
    mask = sample["mask"]
    assert (mask == case["loss_mask"]).all()
    np.testing.assert_allclose(sample["y"][mask], case["target"][mask], rtol=0, atol=1e-5)
    assert float(sample["mean"]) == pytest.approx(float(case["dsm_mean"]), rel=1e-6)


@cases("path", files("training_statistics"))
def test_scales(path):
    data, facts = load_npz(path), manifest()[path.name]
    scenes = [load_npz(p) for p in files("scene_small")]
    if not scenes:
        return
    extents = tuple(Extent(*row) for row in data["regions"].tolist())
    ids = data["image_ids"].tolist()
    area = golden_area(scenes[0], -9999.0, [tuple(ids)], extents)
    assert height_scale([area], [data["positions_yx"]], facts["tile"]) == pytest.approx(
        float(data["dsm_std"]), rel=1e-6
    )
    mean, std = image_statistics([area])
    assert mean == pytest.approx(float(data["image_mean"]), rel=1e-4)
    assert std == pytest.approx(float(data["image_std"]), rel=1e-4)


def training_pipelines():
    for folder in sorted(path for path in GOLDEN.glob("pipeline_*") if path.is_dir()):
        for config in sorted(folder.glob("config_train*.json")):
            yield pytest.param(folder, config.name, id=f"{folder.name}-{config.stem}")


@cases("folder, name", training_pipelines())
def test_training_writes_an_official_run_folder(folder, name, tmp_path):
    work = tmp_path / folder.name
    shutil.copytree(folder, work)
    for path in (work, *work.rglob("*")):  # the goldens are read-only
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    refbench(work, "train", "--method", "resdepth", "--config", name, "--out", tmp_path / "out")
    config = load_json(work / name)
    (ours,) = (work / config["output"]["output_directory"]).iterdir()
    official = folder / "model"
    if not (official / "config.json").is_file():
        return
    for file in ("model_config.json", "config.json.orig"):
        assert json.loads((ours / file).read_text()) == load_json(official / file)
    found, wanted = json.loads((ours / "config.json").read_text()), dict(load_json(official / "config.json"))
    assert found.pop("output").keys() == wanted.pop("output").keys()
    assert found == wanted
    for file in official.glob("*.p"):
        mine, theirs = read_pickle(ours / file.name), read_pickle(file)
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert mine[key] == (None if theirs[key] is None else pytest.approx(theirs[key], rel=1e-4))
    for file in official.glob("checkpoints/Model_[bl]*.pth"):
        mine, theirs = read_checkpoint(ours / "checkpoints" / file.name), read_checkpoint(file)
        assert theirs.keys() <= mine.keys()
        assert {k: v.shape for k, v in mine["model_state_dict"].items()} == {
            k: v.shape for k, v in theirs["model_state_dict"].items()
        }
        assert mine["scheduler_state_dict"].keys() == theirs["scheduler_state_dict"].keys()
        if file.stem == "Model_last":
            assert mine["epoch"] == theirs["epoch"]
            for group in ("lr", "weight_decay"):
                assert mine["optimizer_state_dict"]["param_groups"][0][group] == pytest.approx(
                    theirs["optimizer_state_dict"]["param_groups"][0][group]
                )
