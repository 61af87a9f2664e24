import dataclasses
import json
import os
import pickle

import numpy as np
import pytest
import rasterio
from affine import Affine
from run_refbench import answer

torch = pytest.importorskip("torch")

from refbench import DSM, Context, Grid, Image, Need, Scene  # noqa: E402
from refbench.contracts.errors import ConfigError, InputError, UnsupportedError, WeightsError  # noqa: E402
from refbench.engine.tiles.stream import ArrayWriter, run_tiles  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.weights.weights_folder import read_weights  # noqa: E402
from refbench_resdepth.config import InferenceConfig, ModelConfig, ResDepthConfig  # noqa: E402
from refbench_resdepth.ensemble import Symmetry, image_tuples  # noqa: E402
from refbench_resdepth.method import ResDepth  # noqa: E402
from refbench_resdepth.network.fused import FusedUNet  # noqa: E402
from refbench_resdepth.network.network import UNet, activation, up  # noqa: E402
from refbench_resdepth.official.files import Files  # noqa: E402
from refbench_resdepth.official.model import official_settings  # noqa: E402
from refbench_resdepth.scale import Scale  # noqa: E402
from refbench_resdepth.weights import read_model  # noqa: E402

SMALL = {"depth": 2, "start_kernel": 4}
GSD = 0.25


def grid_of(rows, cols):
    return Grid(cols, rows, Affine(GSD, 0, 465_000, 0, -GSD, 5_247_000))


def scene_of(heights, orthos=("a", "b"), pairs=(), **parts):
    grid = grid_of(*heights.shape)
    rng = np.random.default_rng(5)
    images = {
        n: ArraySource(Image(rng.integers(100, 900, (1, *heights.shape)).astype(np.uint16), grid)) for n in orthos
    }
    return Scene(
        "test", grid, dsm=ArraySource(DSM(heights.astype(np.float32), grid)), orthos=images, pairs=pairs, **parts
    )


def method_of(mode="geom-stereo", tile=16, **inference):
    torch.manual_seed(0)
    model = ModelConfig(input_channels=mode, outer_skip=mode != "stereo", **SMALL)
    method = ResDepth(ResDepthConfig(model=model, inference=InferenceConfig(tile_size=tile, **inference)))
    for module in method.net.modules():  # a network that changes heights visibly
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    method.is_trained, method.scale = True, Scale(3.0)
    return method


def refined(method, scene, fills=False):
    notes = method.prepare(scene, Context())
    writers = {name: ArrayWriter(np.zeros(scene.grid.shape, np.float32)) for name in ("dsm", *method.layers())}
    layers = {name: writer for name, writer in writers.items() if name != "dsm"}
    run_tiles(method, scene, Context(), writers["dsm"], needs=(Need.DSM, Need.ORTHO), layers=layers, fills=fills)
    return {name: writer.heights for name, writer in writers.items()}, notes


def surface(rows=40, cols=52, seed=0):
    rng = np.random.default_rng(seed)
    heights = np.full((rows, cols), 410.0) + rng.normal(0, 1, (rows, cols))
    heights[10:25, 10:30] += 12
    return heights


# --- the network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [lambda: activation("gelu"), lambda: up(4, "nearest")])
def test_unknown_parts_are_refused(wrong):
    with pytest.raises(ValueError, match="Unknown"):
        wrong()


@pytest.mark.parametrize(
    "values",
    [{"depth": 0}, {"input_channels": "stereo"}, {"input_channels": "geom-multiview", "n_views": 6}],
)
def test_networks_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError):
        ModelConfig(**values)


def test_the_default_network_has_the_published_size():
    sizes = {
        mode: sum(p.numel() for p in UNet(ModelConfig(input_channels=mode)).parameters())
        for mode in ("geom", "geom-mono", "geom-stereo")
    }
    assert sizes == {"geom": 12_624_193, "geom-mono": 12_624_769, "geom-stereo": 12_625_345}


def test_a_network_in_training_is_not_fused():
    with pytest.raises(ValueError, match="evaluation"):
        FusedUNet(UNet(ModelConfig(**SMALL)))


def test_bfloat16_stays_near_float32():
    method = method_of()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    exact, half = FusedUNet(method.net)(x), FusedUNet(method.net, "bfloat16")(x)
    assert half.dtype == torch.float32
    assert 0 < (exact - half).abs().max() < 0.1


# --- refining -------------------------------------------------------------------------------------------------------


def test_unknown_heights_are_filled_for_the_network_and_come_back():
    heights = surface()
    holes = np.zeros(heights.shape, bool)
    holes[5:9, 5:9] = holes[30:, 44:] = True
    whole, _ = refined(method_of(), scene_of(heights))
    broken, _ = refined(method_of(), scene_of(np.where(holes, np.nan, heights)))
    assert np.isnan(broken["dsm"][holes]).all()
    assert np.isfinite(broken["dsm"][~holes]).all()
    assert np.abs(broken["dsm"] - whole["dsm"])[~holes].max() < 60
    assert np.median(np.abs(broken["dsm"] - whole["dsm"])[~holes]) < 2


def test_a_tile_without_any_height_stays_empty():
    heights = surface(64, 64)
    heights[:, :40] = np.nan
    out, _ = refined(method_of(), scene_of(heights))
    assert np.isnan(out["dsm"][:, :40]).all()
    assert np.isfinite(out["dsm"][:, 40:]).all()


@pytest.mark.parametrize("shape", [(9, 11), (16, 9), (5, 40)])
def test_rasters_smaller_than_a_tile_are_continued_by_reflection(shape):
    heights = surface(40, 52)[: shape[0], : shape[1]]
    out, _ = refined(method_of(), scene_of(heights))
    assert np.isfinite(out["dsm"]).all()


def test_results_do_not_depend_on_the_height_of_the_place():
    low, _ = refined(method_of(), scene_of(surface()))
    high, _ = refined(method_of(), scene_of(surface() + 3000))
    np.testing.assert_allclose(high["dsm"] - 3000, low["dsm"], atol=2e-3)


def test_several_pairs_give_a_dsm_each_and_their_mean():
    scene = scene_of(surface(), orthos=("a", "b", "c"), pairs=(("a", "b"), ("c", "a")))
    out, notes = refined(method_of(), scene)
    assert set(out) == {"dsm", "a+b", "c+a"}
    assert notes["images"] == [["a", "b"], ["c", "a"]]
    assert np.abs(out["a+b"] - out["c+a"]).max() > 1e-3
    np.testing.assert_allclose(out["dsm"], (out["a+b"] + out["c+a"]) / 2, atol=1e-3)
    alone, _ = refined(method_of(), dataclasses.replace(scene, pairs=(("c", "a"),)))
    np.testing.assert_allclose(alone["dsm"], out["c+a"], atol=1e-3)


def test_averages_give_their_spread():
    method = method_of(average_orders=True, average_flips=True)
    out, notes = refined(method, scene_of(surface()))
    assert notes["passes_per_tile"] == 16
    assert set(out) == {"dsm", "confidence"}
    assert (out["confidence"] >= 0).all() and out["confidence"].max() > 0
    single, _ = refined(method_of(), scene_of(surface()))
    assert np.abs(single["dsm"] - out["dsm"]).max() < 30


def test_an_average_over_symmetries_is_symmetric():
    heights = surface(32, 32)
    method = method_of("geom", tile=32, average_flips=True)
    straight, _ = refined(method, scene_of(heights, orthos=()))
    turned, _ = refined(method, scene_of(np.rot90(heights), orthos=()))
    np.testing.assert_allclose(turned["dsm"], np.rot90(straight["dsm"]), atol=2e-3)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_symmetries_are_undone(turns, flip):
    layers = np.random.default_rng(0).normal(size=(2, 5, 7))
    symmetry = Symmetry(turns, flip)
    np.testing.assert_array_equal(symmetry.undo(symmetry.apply(layers)), layers)


@pytest.mark.parametrize(
    ("count", "pairs", "expected"),
    [
        (0, (), ((),)),
        (1, (), (("a",), ("b",), ("c",))),
        (1, (("c", "a"),), (("c",), ("a",), ("b",))),
        (2, (), (("a", "b"),)),
        (2, (("c", "a"), ("a", "b")), (("c", "a"), ("a", "b"))),
        (3, (("c", "a"),), (("c", "a", "b"),)),
    ],
)
def test_images_of_each_run(count, pairs, expected):
    scene = scene_of(surface(8, 8), orthos=("a", "b", "c"), pairs=pairs)
    assert image_tuples(scene, count) == expected


def test_too_few_images_without_other_weights_are_said():
    method = method_of()
    with pytest.raises(UnsupportedError, match="need 2 ortho images, the scene has 1"):
        method.prepare(scene_of(surface(), orthos=("a",)), Context())


def test_tiles_must_fit_the_network():
    with pytest.raises(InputError, match="multiple of 4"):
        method_of(tile=18).plan(grid_of(40, 40))


# --- files ----------------------------------------------------------------------------------------------------------


def official_run(folder, mode="geom", **changes):
    """A run folder of the official code with a small network."""
    torch.manual_seed(0)
    net = UNet(ModelConfig(input_channels=mode, **SMALL))
    (folder / "checkpoints").mkdir(parents=True)
    settings = official_settings(net.config)
    settings["settings"] |= changes
    (folder / "model_config.json").write_text(json.dumps(settings))
    (folder / "DSM_normalization_parameters.p").write_bytes(pickle.dumps({"mean": None, "std": 2.5}))
    if mode != "geom":
        (folder / "Image_normalization_parameters.p").write_bytes(pickle.dumps({"mean": 400.0, "std": 90.0}))
    (folder / "config.json").write_text(json.dumps({"training_settings": {"tile_size": 16}}))
    torch.save({"epoch": 3, "model_state_dict": net.state_dict()}, folder / "checkpoints" / "Model_best.pth")
    return net


def test_run_folders_become_weights(tmp_path):
    net = official_run(tmp_path / "run", "geom-mono")
    facts = Files().import_weights(tmp_path / "run", tmp_path / "weights", {})
    assert facts["tile_size"] == 16 and facts["inputs"] == "geom-mono"
    meta = read_weights(tmp_path / "weights").meta
    assert meta["normalisation"] == {"dsm_std": 2.5, "image_rule": "fixed", "image_mean": 400.0, "image_std": 90.0}
    method = ResDepth(None, tmp_path / "weights")
    assert method.tile_size == 16
    for key, tensor in net.state_dict().items():
        assert torch.equal(method.net.state_dict()[key], tensor.float() if tensor.is_floating_point() else tensor)


def test_a_checkpoint_alone_asks_for_its_architecture(tmp_path):
    official_run(tmp_path / "run")
    (tmp_path / "run" / "model_config.json").unlink()
    with pytest.raises(InputError, match=r"model_config\.json"):
        Files().import_weights(tmp_path / "run" / "checkpoints" / "Model_best.pth", tmp_path / "weights", {})
    assert not (tmp_path / "weights").exists()


def test_another_architecture_is_named(tmp_path):
    official_run(tmp_path / "run", start_kernel=8)
    with pytest.raises(WeightsError, match=r"encoder\.0\.0\.0\.weight is \[4, 1, 3, 3\], the network's \[8, 1, 3, 3\]"):
        ResDepth(None, tmp_path / "run")


class Harm:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_pickles_that_want_to_run_code_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    official_run(tmp_path / "run")
    (tmp_path / "run" / "DSM_normalization_parameters.p").write_bytes(pickle.dumps({"std": Harm()}))
    with pytest.raises(WeightsError, match=r"wants to run (posix|nt)\.system"):
        read_model(tmp_path / "run")
    assert not (tmp_path / "harmed").exists()


def write_raster(path, values, **options):
    rows, cols = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=1, dtype=values.dtype, crs="EPSG:32632",
        transform=Affine(GSD, 0, 465_000, 0, -GSD, 5_247_000), **options,
    ) as file:  # fmt: skip
        file.write(values, 1)


def official_data(folder, mode="geom", rows=60, cols=70, integer=False):
    """Rasters, lists and a run folder; return an inference configuration for them."""
    official_run(folder / "run", mode)
    rng = np.random.default_rng(0)
    heights = surface(rows, cols)
    write_raster(folder / "dsm.tif", np.rint(heights).astype(np.int16) if integer else heights.astype(np.float32))
    write_raster(folder / "truth.tif", (heights + rng.normal(0, 0.2, heights.shape)).astype(np.float32))
    for name in "abc":
        write_raster(folder / f"{name}.tif", rng.integers(100, 900, heights.shape).astype(np.uint16))
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
    write_raster(tmp_path / "coarse.tif", np.zeros((30, 35), np.uint8))
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
