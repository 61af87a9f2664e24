"""Official ImpliCity files: configurations, chunk folders, checkpoints."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine

from refbench.contracts.errors import ConfigError, GridMismatchError, InputError, MissingFileError, WeightsError
from refbench.contracts.grid import Bounds, Grid
from refbench.contracts.need import Need
from refbench.contracts.raster import DSM, Mask
from refbench.engine.inputs.config import load_config
from refbench.registry.registry import load_registry
from refbench_implicity.config import ImpliCityConfig
from refbench_implicity.method import ImpliCity
from refbench_implicity.network.network import build_model
from refbench_implicity.official.assessor import assess_official
from refbench_implicity.official.files import Files
from refbench_implicity.official.report import evaluate_official, statistics_of
from refbench_implicity.official.scene import open_chunk_folder

WEST, SOUTH = 463_948.0, 5_249_174.0
MODEL = {
    "method": "conv_onet",
    "encoder_kwargs": {"hidden_dim": 8, "feature_dim": 8, "plane_resolution": 16, "unet": False},
    "decoder_kwargs": {"feature_dim": 8, "hidden_size": 8, "n_blocks": 2},
}

FILES = Files()


def write_yaml(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def record():
    return load_registry().methods.get("implicity")


def write_raster(path, values, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(0.5, 0, WEST, 0, -0.5, SOUTH + values.shape[0] / 2)
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1, dtype=dtype,
        transform=transform, crs="EPSG:32632",
    ) as file:  # fmt: skip
        file.write(values.astype(dtype), 1)


@pytest.fixture
def dataset(tmp_path):
    """Two chunks of 20 m x 30 m side by side, rasters over both, and the configuration."""
    rng, folder = np.random.default_rng(0), tmp_path / "data"
    info = {}
    for number in range(2):
        low = [WEST + 20 * number, SOUTH]
        name = f"chunk_{number:03d}"
        info[number] = {"name": name, "min_bound": [*low, 400.0], "max_bound": [low[0] + 20, SOUTH + 30, 500.0]}
        points = np.column_stack([low + rng.random((500, 2)) * [20, 30], np.full(500, 430.0)])
        # A stray point of the neighbour's ground, and a height that is no number.
        stray = np.array([[low[0] - 3, SOUTH + 5, 900.0], [low[0] + 5, SOUTH + 5, np.nan]])
        (folder / name).mkdir(parents=True)
        np.savez(folder / name / "input_point_cloud.npz", pts=np.concatenate([points, stray]))
    write_yaml(folder / "chunk_info.yaml", info)
    write_raster(folder / "raster" / "gt.tif", np.full((60, 80), 431.0), "float32")
    write_raster(folder / "raster" / "mask.tif", np.ones((60, 80)), "uint8")
    write_raster(folder / "raster" / "image.tif", rng.integers(1, 2000, (60, 80)), "uint16")
    rasters = {"dsm_gt_path": "data/raster/gt.tif", "mask_files": {"gt": "data/raster/mask.tif", "water": None}}
    content = {
        "dataset": {
            "path": "data", **rasters, "test_chunks": [0, 1], "vis_chunks": [1], "patch_size": [16, 16],
            "normalize": {"z_std": 20.0, "z_shift": "mean"}, "sliding_window": {"test_strip": [8, 8]},
            "satellite_image": {
                "folder": "data/raster", "pairs": ["image.tif"], "normalize": {"mean": 1000.0, "std": 400}
            },
        },
        "model": MODEL, "test": {"threshold": 0.4, "check_point": "model.pt"},
        "dsm_generation": {"pixel_size": [0.5, 0.5], "crs_epsg": 32632},
    }  # fmt: skip
    return write_yaml(tmp_path / "official.yaml", content)


def test_own_configurations_are_not_official(tmp_path):
    assert FILES.read_config(write_yaml(tmp_path / "a.yaml", {"variant": "stereo", "surface": {"block": 10}})) is None
    assert (
        FILES.read_config(write_yaml(tmp_path / "b.yaml", {"base": "a.yaml", "model": {"multi_label": True}})) is None
    )
    assert FILES.read_config(tmp_path / "none.yaml") is None


def test_official_configuration_is_loaded_by_the_engine(dataset):
    resolved = load_config(record(), dataset)
    config = resolved.instance
    assert isinstance(config, ImpliCityConfig)
    assert (config.patch_size, config.patch_stride, config.threshold) == (16.0, (8.0, 8.0), 0.4)
    assert config.pixel_size == 0.5  # that of the image
    assert (config.normalisation.z_std, config.normalisation.image_rule) == (20.0, "fixed")
    assert config.dataset.vis_chunks == (1,)
    assert config.model.point_encoder.unet is None
    assert config.weights == "model.pt"  # there is none to be located
    assert Path(config.dataset.path) == dataset.parent / "data"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {"patch_sise": [64, 64]}}, r"unknown key dataset.patch_sise; did you mean dataset.patch_size\?"),
        ({"trainning": {}}, r"unknown key trainning; did you mean training\?"),
        ({"dataset": {"patch_size": 64}}, "dataset.patch_size must be a list of 2, got 64"),
        ({"dataset": {"patch_size": [64, 32]}}, "must be square"),
        ({"dataset": {"normalize": {"z_shift": "max"}}}, "z_shift must be one of median, mean, 20quantile, got 'max'"),
        ({"dataset": {"normalize": {"x_range": [0, 2]}}}, r"x_range must be \[0, 1\]"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate must be a number, got 'fast'"),
        ({"training": {"lock_seed": 1}}, "training.lock_seed must be True or False"),
        ({"model": {"method": "conv_onet", "encoder_kwargs": {"unet3d": True}}}, "unet3d is not supported"),
        ({"dataset": {"satellite_image": {"pairs": []}}}, "satellite_image.pairs must be a list of 1 or 2 files"),
        ({"model": 3}, "model must hold keys and values"),
        ({"dsm_generation": {"h_upsampling_steps": 2.5}}, "h_upsampling_steps must be a whole number"),
    ],
)
def test_mistakes_name_file_key_and_nearest(tmp_path, change, message):
    path = write_yaml(tmp_path / "bad.yaml", {"dataloader": {"n_workers": 0}, **change})
    with pytest.raises(ConfigError, match=message) as caught:
        FILES.read_config(path)
    assert str(path) in str(caught.value)


def test_what_steers_only_logs_is_dropped_and_named(tmp_path):
    content = {
        "dataloader": {"n_workers": 1},
        "logging": {"filename": "x.log"},
        "wandb": {"project": "p"},
        "training": {"wandb_project": "p", "exit_after": 60, "learning_rate": "1e-3"},
    }
    translated = FILES.read_config(write_yaml(tmp_path / "a.yaml", content))
    (note,) = translated.notes
    for key in ("logging", "wandb", "training.wandb_project", "training.exit_after"):
        assert key in note
    assert translated.values["training"] == {"learning_rate": 0.001}


def test_parents_are_found_beside_the_file_and_circles_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yaml(tmp_path / "config" / "base.yaml", {"test": {"threshold": 0.3}, "dataloader": {"n_workers": 2}})
    child = write_yaml(tmp_path / "config" / "sub" / "child.yaml", {"inherit_from": "config/base.yaml"})
    assert FILES.read_config(child).values["threshold"] == 0.3
    beside = write_yaml(tmp_path / "config" / "next.yaml", {"inherit_from": "base.yaml", "test": {"threshold": 0.6}})
    assert FILES.read_config(beside).values["threshold"] == 0.6
    write_yaml(tmp_path / "config" / "base.yaml", {"inherit_from": "config/sub/child.yaml"})
    with pytest.raises(ConfigError, match="circle"):
        FILES.read_config(child)
    with pytest.raises(MissingFileError, match="names nowhere"):
        FILES.read_config(write_yaml(tmp_path / "lost.yaml", {"inherit_from": "nowhere.yaml"}))


def test_yaml_objects_are_not_built(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("dataloader: !!python/object/apply:os.mkdir ['made']\n")
    assert FILES.read_config(path) is None
    path.write_text("inherit_from: evil2.yaml\n")
    (tmp_path / "evil2.yaml").write_text("a: !!python/object/apply:os.mkdir ['made']\n")
    with pytest.raises(ConfigError, match="safely"):
        FILES.read_config(path)
    assert not Path("made").exists()


def test_scene_of_a_configuration(dataset):
    scene = FILES.scene_from_config(FILES.read_config(dataset))
    assert scene.grid == Grid(80, 60, Affine(0.5, 0, WEST, 0, -0.5, SOUTH + 30), scene.grid.crs)
    assert scene.grid.crs.to_epsg() == 32632
    points = scene.points.read()
    assert len(points) == 1000  # strays and NaN are out
    assert points.xyz[:, 2].tolist() == [430.0] * 1000
    part = scene.points.read(Bounds(WEST + 10, SOUTH + 10, WEST + 30, SOUTH + 20))
    inside = (points.xyz[:, :2] >= [WEST + 10, SOUTH + 10]) & (points.xyz[:, :2] < [WEST + 30, SOUTH + 20])
    assert len(part) == int(inside.all(axis=1).sum()) > 0
    assert scene.has(Need.ORTHO)
    assert (scene.reference.dsm.read().heights == 431).all()
    assert scene.reference.mask.read().is_class.all()
    vis = FILES.scene_from_config(FILES.read_config(dataset), "vis")
    assert vis.grid.width == 40
    assert vis.reference.dsm.grid == vis.grid
    assert vis.reference.dsm.read(vis.grid.full_window).heights.shape == (60, 40)
    assert FILES.read_config(dataset.parent / "data" / "chunk_info.yaml") is None


def test_patches_follow_the_chunks(dataset):
    config = load_config(record(), dataset).instance
    plan = ImpliCity(config).plan(FILES.scene_from_config(FILES.read_config(dataset)).grid)
    xs = sorted(set((plan.anchors[:, 0] - WEST).tolist()))
    assert xs == [0.0, 4.0, 20.0, 24.0]
    whole = ImpliCity(config).plan(Grid(160, 60, Affine(0.5, 0, WEST, 0, -0.5, SOUTH + 30)))
    assert 0.0 in whole.anchors[:, 0] - WEST
    assert (whole.anchors[:, 0] - WEST).max() == 64


def test_chunk_folder_alone(dataset):
    folder = dataset.parent / "data"
    (importer,) = [i for i in load_registry().importers if i.name == "implicity-chunks"]
    module, name = importer.recognises.split(":")
    recognises = getattr(__import__(module, fromlist=[name]), name)
    assert recognises(folder)
    assert not recognises(folder / "raster")
    scene = open_chunk_folder(folder)
    assert scene.points.count() == 1004
    assert "EPSG:32632 is assumed" in scene.warnings[0]


def checkpoint(path, config):
    net = build_model(config.model)
    torch.save({"n_iter": 7, "model": net.state_dict(), "optimizer": {}, "scheduler": {}}, path)
    return net


def test_import_with_and_without_configuration(dataset, tmp_path):
    config = load_config(record(), dataset).instance
    net = checkpoint(tmp_path / "model.pt", config)
    notes = FILES.import_weights(tmp_path / "model.pt", tmp_path / "imported", {"config": str(dataset)})
    assert notes["variant"] == "0"
    assert notes["remarks"] == []
    method = ImpliCity(None, tmp_path / "imported")
    assert (method.patch_size, method.normalisation.z_std, method.constants["threshold"]) == (16.0, 20.0, 0.4)
    assert method.normalisation.image_mean == 1000.0
    for key, value in method.net.state_dict().items():
        assert torch.equal(value, net.state_dict()[key])
    with pytest.raises(WeightsError, match=r"does not fit the network: .* --config"):
        FILES.import_weights(tmp_path / "model.pt", tmp_path / "published", {})
    assert not (tmp_path / "published").exists()
    with pytest.raises(InputError, match="no official ImpliCity configuration"):
        own = write_yaml(tmp_path / "own.yaml", {"variant": "0"})
        FILES.import_weights(tmp_path / "model.pt", tmp_path / "x", {"config": str(own)})


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made-by-pickle",)


def test_checkpoints_that_want_to_run_code_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="refused"):
        FILES.import_weights(tmp_path / "evil.pt", tmp_path / "out", {})
    assert not (tmp_path / "made-by-pickle").exists()
    torch.save({"weights": 3}, tmp_path / "odd.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        FILES.import_weights(tmp_path / "odd.pt", tmp_path / "out", {})


def test_official_statistics_and_their_own_nmad():
    values = statistics_of(np.array([-1.0, -1.0, np.nan, -1.0]))
    assert values["n_pixel"] == 3
    assert values["NMAD"] == pytest.approx(1.4826 * 2)  # 0 by the usual definition
    assert set(statistics_of(np.array([np.nan])).values()) == {None}


def test_official_report_without_some_masks():
    grid = Grid(4, 3, Affine(1, 0, 0, 0, -1, 3))
    reference, masks = np.zeros((3, 4)), {"gt": np.ones((3, 4)), "water": np.eye(3, 4)}
    result = evaluate_official(np.full((3, 4), 0.5), grid, reference, masks, grid)
    assert list(result.statistics) == ["overall", "water"]
    report = result.report("mine", datetime(2022, 9, 1, 8, 30))
    assert "created: 2022-09-01 08:30:00\n\nmine\n" in report
    assert [line.split()[:3] for line in report.splitlines() if line.startswith("Water")] == [
        ["Water", "0.5000", "0.5000"]
    ]
    with pytest.raises(InputError, match="mask gt"):
        evaluate_official(np.zeros((3, 4)), grid, reference, {}, grid)
    with pytest.raises(GridMismatchError, match="reaches past"):
        evaluate_official(np.zeros((4, 4)), grid, reference, masks, grid)


def test_the_official_evaluation_is_an_assessor():
    grid = Grid(8, 6, Affine(1, 0, 0, 0, -1, 6))
    reference = np.zeros((6, 8), np.float32)
    reference[0] = np.nan
    heights = np.full((6, 8), 1, np.float32)
    heights[3, 4] = 3  # grown by the two steps of a cross, the building holds 13 pixels
    building = np.zeros((6, 8), np.uint8)
    building[3, 4] = 1
    registry = load_registry().assessors
    record = registry.get("implicity-eval")
    found = assess_official(DSM(heights, grid), DSM(reference, grid), {"building": Mask(building, grid)}, {})
    assert set(found) == {score.key for score in record.scores}
    assert found["overall_n_pixel"] == 40 and found["overall_MAE"] == pytest.approx(42 / 40)
    assert found["building_n_pixel"] == 13 and found["building_max"] == 3
    assert found["terrain_n_pixel"] == 27 and found["terrain_RMSE"] == 1 and found["terrain_NMAD"] == 0
    assert np.isnan(found["water_MAE"]) and np.isnan(found["terrain_wo_forest_MAE"])
    bare = assess_official(
        DSM(heights, grid), DSM(reference, grid), {"building": Mask(building, grid)}, {"dilation": 0}
    )
    assert bare["building_n_pixel"] == 1 and bare["building_MAE"] == 3
    with pytest.raises(InputError, match="needs a reference"):
        assess_official(DSM(heights, grid), None, {}, {})
    with pytest.raises(InputError, match="dilation=N"):
        assess_official(DSM(heights, grid), DSM(reference, grid), {}, {"growth": 3})
