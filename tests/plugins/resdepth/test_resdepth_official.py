"""Official configurations of ResDepth, run from the command line."""

import json

import numpy as np
import pytest
import rasterio
from run_refbench import answer

torch = pytest.importorskip("torch")
from makers import grid_of, write_tif  # noqa: E402
from resdepth_blocks import GSD, official_run, surface  # noqa: E402

from refbench.contracts.errors import ConfigError  # noqa: E402
from refbench_resdepth.official.files import Files  # noqa: E402


def official_data(folder, mode="geom", rows=60, cols=70, integer=False):
    """Rasters, lists and a run folder; return an inference configuration for them."""
    official_run(folder / "run", mode)
    rng = np.random.default_rng(0)
    heights, grid = surface(rows, cols), grid_of(rows, cols, GSD)
    write_tif(folder / "dsm.tif", np.rint(heights).astype(np.int16) if integer else heights.astype(np.float32), grid)
    write_tif(folder / "truth.tif", (heights + rng.normal(0, 0.2, heights.shape)).astype(np.float32), grid)
    for name in "abc":
        write_tif(folder / f"{name}.tif", rng.integers(100, 900, heights.shape).astype(np.uint16), grid)
    (folder / "images.txt").write_text("a.tif\n\nb.tif\nc.tif \n")
    (folder / "pairs.txt").write_text("b,\nc.tif\n\n" if mode == "geom-mono" else "a, b\nb.tif,c.tif,\n")
    dataset = {"raster_in": "dsm.tif", "raster_gt": "truth.tif"}
    if mode != "geom":
        dataset |= {"path_image_list": "images.txt", "path_pairlist": "pairs.txt"}
    model = {
        "weights": "run/checkpoints/Model_best.pth",
        "architecture": "run/model_config.json",
        "normalization_geom": "run/DSM_normalization_parameters.p",
    }
    if mode != "geom":
        model["normalization_image"] = "run/Image_normalization_parameters.p"
    return {"datasets": [dataset], "model": model, "general": {"tile_size": 16}, "output": {"directory": "official"}}


def run_official(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return answer(folder, "run", "--method", "resdepth", "--config", "config.json", "--out", "out", "--no-report")


def test_stripes_of_the_training_area_with_several_images(tmp_path):
    config = official_data(tmp_path, "geom-mono")
    config["datasets"][0] |= {"area_type": "train", "name": "city"}
    # The official inference refuses these two keys here, and crashes on several pairs over two rectangles.
    config["general"] |= {"allocation_strategy": "5-crossval_vertical", "test_stripe": 1}
    done = run_official(tmp_path, config)
    assert done.returncode == 0, done.stderr
    tree = {
        str(p.relative_to(tmp_path / "official" / "city")) for p in (tmp_path / "official").rglob("*") if p.is_file()
    }
    rasters = {f"Image_{i}/dsm_{kind}_{n}.tif" for i in (1, 2) for kind in ("prediction", "residuals") for n in (0, 1)}
    texts = {f"Image_{i}/dsm_prediction_statistics.txt" for i in (1, 2)}
    pooled = {"dsm_prediction_performance_statistics_mean_over_all_stereopairs.txt"}
    assert tree == {"config.json", "config.json.orig"} | rasters | texts | pooled
    with rasterio.open(tmp_path / "official" / "city" / "Image_1" / "dsm_prediction_1.tif") as file:
        assert file.shape == (60, 28)
        part, left = file.read(1), file.transform.c
    with rasterio.open(tmp_path / "out" / "dsm_b.tif") as file:
        whole = file.read(1)
        offset = round((left - file.transform.c) / GSD)
        assert (whole[:, 14:42] == file.nodata).all()
    np.testing.assert_array_equal(whole[:, offset : offset + 28], part)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["metrics"]["refined"]["all"]["n"] == 60 * 42


def test_each_data_set_gets_a_folder(tmp_path):
    config = official_data(tmp_path)
    config["datasets"] = [{**config["datasets"][0], "name": "one"}, config["datasets"][0]]
    done = run_official(tmp_path, config)
    assert done.returncode == 0, done.stderr
    for name in ("one", "dataset_1"):
        assert (tmp_path / "out" / name / "dsm.tif").is_file()
        assert (tmp_path / "official" / name / "dsm_prediction.tif").is_file()
    assert not (tmp_path / "out" / "dsm.tif").exists()


def test_integer_heights_become_floats(tmp_path):
    done = run_official(tmp_path, official_data(tmp_path, integer=True))
    assert done.returncode == 0, done.stderr
    with rasterio.open(tmp_path / "official" / "dataset_0" / "dsm_prediction.tif") as file:
        values = file.read(1)
        assert file.dtypes == ("float32",)
    assert (values != np.rint(values)).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["general"].update(tile_sise=16), "general.tile_sise"),
        (lambda c: c["datasets"][0].pop("raster_in"), "raster_in"),
        (lambda c: c["datasets"][0].update(area_type="test", allocation_strategy="5-crossval_vertical"), "test_stripe"),
        (lambda c: c["datasets"][0].update(raster_gt="nothing.tif"), "nothing.tif"),
        (lambda c: c["datasets"][0].update(mask_building="coarse.tif"), "grid of the initial DSM"),
        (lambda c: c["model"].update(architecture="nothing.json"), "nothing.json"),
        (lambda c: c["general"].update(tile_size=18), "multiple of 4"),
    ],
)
def test_bad_configurations_are_one_sentence(tmp_path, change, words):
    config = official_data(tmp_path)
    write_tif(tmp_path / "coarse.tif", np.zeros((30, 35), np.uint8), grid_of(30, 35, GSD))
    change(config)
    done = run_official(tmp_path, config)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "official").exists()


def test_training_configurations_do_not_run(tmp_path):
    training = {"datasets": [{"raster_in": "a", "raster_gt": "b", "area_type": "train+val"}]}
    training |= {"output": {"output_directory": "runs", "tboard_log_dir": "tb"}, "model": {"input_channels": "geom"}}
    done = run_official(tmp_path, training)
    assert done.returncode == 2
    assert "training configuration" in done.stderr


def test_minimal_training_configurations_get_the_official_defaults(tmp_path):
    path = tmp_path / "config.json"
    dataset = {"raster_in": "a.tif", "raster_gt": "b.tif", "area_type": "train+val"}
    content = {"datasets": [dataset], "model": {"input_channels": "geom"}}
    content["output"] = {"output_directory": "runs", "tboard_log_dir": "tb"}
    path.write_text(json.dumps(content))
    found = Files().read_config(path).values
    assert found["training"]["n_epochs"] == 2000 and found["training"]["batch_size"] == 20
    assert found["training"]["scheduler"] == {"enabled": True, "name": "StepLR", "settings": {"step_size": 200}}
    assert found["model"]["depth"] == 5 and found["model"]["bias_conv_layer"] is True
    content["model"] = {"input_channels": "stereo"}
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="outer_skip"):
        Files().read_config(path)


def test_other_files_are_not_taken_for_official(tmp_path):
    for name, text in (("a.json", "[]"), ("b.json", "{"), ("c.yaml", "datasets: []"), ("d.json", '{"datasets": 3}')):
        (tmp_path / name).write_text(text)
        assert Files().read_config(tmp_path / name) is None
