"""Parity of ResDepth's network, its tiling in the engine and its pipeline with the official code.

Cases and every parameter come from the golden folder; see ``golden_resdepth``. The weights are the recipe's.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import stat

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from golden_resdepth import cases, files, fill, golden_folder, load_json, load_npz, manifest, network
from run_refbench import refbench

from refbench import DSM, Context, Grid, Image, Need, Scene
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.formats.raster import ArraySource
from refbench.weights.checkpoint import read_checkpoint
from refbench_resdepth.config import InferenceConfig, ResDepthConfig
from refbench_resdepth.method import ResDepth
from refbench_resdepth.network.fused import FusedUNet
from refbench_resdepth.scale import Scale
from refbench_resdepth.weights import filled_network, read_model

GOLDEN = golden_folder()
FORWARD = 1e-4
METRES = 1e-3


@cases("path", files("forward"))
def test_forward(path):
    data = load_npz(path)
    net = fill(network(data["settings_json"]))
    with torch.no_grad():
        y = net(torch.from_numpy(data["x"])).numpy()
    np.testing.assert_allclose(y, data["y"], rtol=0, atol=FORWARD)


@cases("path", files("forward"))
def test_fused_forward(path):
    data = load_npz(path)
    fused = FusedUNet(fill(network(data["settings_json"])))
    np.testing.assert_allclose(fused(torch.from_numpy(data["x"])).numpy(), data["y"], rtol=0, atol=FORWARD)


@cases("path", [path for path in files("forward") if "state_keys" in load_npz(path)])
def test_state_keys(path):
    data = load_npz(path)
    stored = {re.match(r"[\w.]+", str(entry)).group(0) for entry in data["state_keys"]}
    assert set(network(data["settings_json"]).state_dict()) == stored


@cases("path", files("checkpoint_forward"))
def test_checkpoints(path):
    data, named = load_npz(path), manifest()[path.name]
    for key in (key for key in data if key.startswith("y_")):
        stored = read_model(GOLDEN / named[key])
        net = filled_network(stored)
        with torch.no_grad():
            y = net(torch.from_numpy(data["x"])).numpy()
        np.testing.assert_allclose(y, data[key], rtol=0, atol=FORWARD)
    content = read_checkpoint(GOLDEN / named["epoch_loss_of"])
    assert sorted(content) == sorted(data["ckpt_keys"].tolist())
    assert content["epoch"] == int(data["epoch"])
    assert content["loss_train"] == pytest.approx(float(data["loss_train"]))
    assert content["loss_val"] == pytest.approx(float(data["loss_val"]))


@cases("path", files("pipeline_full_network"))
def test_tiled_refinement(path):
    data, facts = load_npz(path), manifest()[path.name]
    dsm_std, image_mean, image_std = data["params"].tolist()
    tile = int(data["tile"])
    inference = InferenceConfig(tile_size=tile, overlap=1 - facts["stride"] / tile)
    net = fill(network(data["settings_json"]))
    method = ResDepth(ResDepthConfig(model=net.config, inference=inference))
    method.net, method.is_trained = net, True
    method.scale = Scale(dsm_std, "fixed", image_mean, image_std)
    heights = np.where(data["init"] == facts["nodata"], np.nan, data["init"]).astype(np.float32)
    grid = Grid(heights.shape[1], heights.shape[0], Affine(0.25, 0, 465_000, 0, -0.25, 5_247_000))
    names = tuple(f"ortho_{i}" for i in range(len(data["orthos"])))
    orthos = {n: ArraySource(Image(o[None], grid)) for n, o in zip(names, data["orthos"], strict=True)}
    scene = Scene("golden", grid, dsm=ArraySource(DSM(heights, grid)), orthos=orthos, pairs=(names,))
    out = ArrayWriter(np.zeros_like(heights))
    method.prepare(scene, Context())
    run_tiles(method, scene, Context(), out, needs=(Need.DSM, Need.ORTHO))
    np.testing.assert_allclose(out.heights, data["expected"], rtol=0, atol=METRES)


def pipelines():
    for folder in sorted(path for path in GOLDEN.glob("pipeline_*") if path.is_dir()):
        for config in sorted(folder.glob("config_test*.json")):
            yield pytest.param(folder, config.name, id=f"{folder.name}-{config.stem}")


@cases("folder, name", pipelines())
def test_pipeline(folder, name, tmp_path):
    work = tmp_path / folder.name
    shutil.copytree(folder, work)
    for path in (work, *work.rglob("*")):  # the goldens are read-only
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    config = load_json(work / name)
    out = tmp_path / "out"
    refbench(work, "run", "--method", "resdepth", "--config", name, "--out", tmp_path / "out", "--no-report")
    directory = config["output"]["directory"]
    expected = folder / "expected" / directory.rpartition("/")[2]
    rules = manifest().get(folder.name, {})
    compared = [path for path in sorted(expected.rglob("*")) if path.is_file()]
    assert compared
    for path in compared:
        ours = work / directory / path.relative_to(expected)
        assert ours.is_file(), ours
        if path.suffix == ".tif":
            compare_rasters(ours, path, rules.get("height_tolerance_m", METRES))
        elif path.suffix == ".txt":
            compare_texts(ours, path, rules.get("text_tolerance", 1e-3))
        else:
            compare_json(ours, path, rules.get("ignore_in_json", ["output.directory"]))
    written = {path.relative_to(work / directory) for path in (work / directory).rglob("*") if path.is_file()}
    assert written == {path.relative_to(expected) for path in compared}
    means_of_tuples(out, expected)


def compare_rasters(ours, path, tolerance):
    with rasterio.open(ours) as a, rasterio.open(path) as b:
        assert (a.shape, a.crs, a.nodata, a.dtypes, a.compression) == (
            b.shape,
            b.crs,
            b.nodata,
            b.dtypes,
            b.compression,
        )
        np.testing.assert_allclose(a.transform, b.transform, rtol=0, atol=1e-6)
        found, wanted = a.read(1), b.read(1)
    assert ((found == a.nodata) == (wanted == b.nodata)).all()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def compare_texts(ours, path, tolerance):
    found, wanted = (text.read_text().split("\n") for text in (ours, path))
    assert [NUMBER.sub("#", line).split() for line in found] == [NUMBER.sub("#", line).split() for line in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        if not theirs.startswith("Model"):
            a, b = (np.array(NUMBER.findall(line), np.float64) for line in (mine, theirs))
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * 1.001)


def compare_json(ours, path, ignored):
    found, wanted = (json.loads(text.read_text()) for text in (ours, path))
    for content in (found, wanted):
        for key in ignored:
            *sections, last = key.split(".")
            functools.reduce(dict.__getitem__, sections, content).pop(last, None)
    assert found == wanted


def means_of_tuples(out, expected):
    """``dsm.tif`` is the mean of the official predictions over the tuples of images."""
    predictions = {}
    for path in expected.rglob("*_prediction.tif"):
        with rasterio.open(path) as file:
            predictions.setdefault(path.name, []).append(file.read(1).astype(np.float64))
    if len(predictions) == 1:
        with rasterio.open(out / "dsm.tif") as file:
            found = file.read(1)
        np.testing.assert_allclose(found, np.mean(next(iter(predictions.values())), axis=0), rtol=0, atol=METRES)
