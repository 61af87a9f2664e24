"""Parity of ImpliCity's checkpoints and configurations with the official code.

Cases and every parameter come from the golden folder; see ``golden_implicity``. The weights are the recipe's.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from golden_implicity import (
    cases,
    load_json,
    load_npz,
    manifest,
)
from golden_implicity_rasters import GOLDEN, HERE, NODATA, check_statistics, generate, golden_rasters
from pydantic import TypeAdapter

from refbench_implicity.config import ImpliCityConfig, ModelConfig
from refbench_implicity.method import ImpliCity
from refbench_implicity.official.config import read_official
from refbench_implicity.official.files import Files
from refbench_implicity.official.report import evaluate_official
from refbench_implicity.official.translation import typed_config
from refbench_implicity.patches import collate
from refbench_implicity.training.dataset import SlidingWindowItems, official_items
from refbench_implicity.training.task import OccupancyTask
from refbench_implicity.weights import filled_network, read_model

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
    reference, masks, grid = golden_rasters(Path(config.dataset.path).name)
    check_statistics(evaluate_official(found, scene.grid, reference, masks, grid).statistics, expected["stats"], 1e-2)
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
