import dataclasses
import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image as Picture
from rasterio.crs import CRS
from run_refbench import refbench

torch = pytest.importorskip("torch")
EventAccumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator

from refbench import DSM, Context, Grid, Image, Need, Scene, Window  # noqa: E402
from refbench.contracts.errors import ConfigError, InputError, UnsupportedError, WeightsError  # noqa: E402
from refbench.contracts.scene import Reference  # noqa: E402
from refbench.engine.tiles.stream import ArrayWriter, run_tiles  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.weights.weights_folder import read_weights  # noqa: E402
from refbench_pix2pix.config import GeneratorConfig, InferenceConfig, Pix2PixConfig, TrainingConfig, ValueConfig  # noqa: E402
from refbench_pix2pix.method import Pix2Pix  # noqa: E402
from refbench_pix2pix.network.network import Generator  # noqa: E402
from refbench_pix2pix.official.files import Files  # noqa: E402
from refbench_pix2pix.official.names import parse_tile_name  # noqa: E402
from refbench_pix2pix.official.options import read_options  # noqa: E402
from refbench_pix2pix.official.tile_export import export_scene  # noqa: E402
from refbench_pix2pix.official.tiles import as_rgb, halves  # noqa: E402
from refbench_pix2pix.tiling import plan_tiles, profile  # noqa: E402
from refbench_pix2pix.training.schedule import LinearShare  # noqa: E402
from refbench_pix2pix.values import (  # noqa: E402
    HeightScale,
    levels_of,
    ndvi_levels,
    normalise_levels,
    tile_scale,
    to_metres,
    to_network,
)

GSD = 0.5


def grid_of(rows, cols):
    return Grid(cols, rows, Affine(GSD, 0, 465_000, 0, -GSD, 5_247_000), CRS.from_epsg(32632))


def surface(rows=300, cols=280, base=60.0, seed=0):
    rng = np.random.default_rng(seed)
    heights = base + np.linspace(0, 5, cols)[None] + rng.normal(0, 0.3, (rows, cols))
    heights[40:120, 60:160] += 14
    return heights.astype(np.float32)


def scene_of(heights, ndvi=True, **parts):
    grid = grid_of(*heights.shape)
    values = np.random.default_rng(1).uniform(-1, 1, (1, *heights.shape)).astype(np.float32)
    source = ArraySource(Image(values, grid)) if ndvi else None
    return Scene("test", grid, dsm=ArraySource(DSM(heights, grid)), ndvi=source, **parts)


def method_of(input_nc=2, ngf=4, values=None, **inference):
    torch.manual_seed(0)
    shape = GeneratorConfig(input_nc, 1, ngf)
    method = Pix2Pix(Pix2PixConfig(generator=shape, values=values, inference=InferenceConfig(**inference)))
    for module in method.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    method.is_trained = True
    return method


def refined(method, scene):
    notes = method.prepare(scene, Context())
    out = ArrayWriter(np.zeros(scene.grid.shape, np.float32))
    run_tiles(method, scene, Context(), out, needs=(Need.DSM, Need.NDVI))
    return out.heights, notes


# --- values ---------------------------------------------------------------------------------------------------------


def test_the_float_path_loses_nothing():
    heights = surface().astype(np.float64)
    for config in (ValueConfig(), ValueConfig(span="tile"), ValueConfig(offset=400, step=0.2)):
        scale = tile_scale(heights, config)
        back = to_metres(to_network(heights, scale, config), scale, config)
        np.testing.assert_allclose(back, heights, atol=1e-4)


def test_the_8bit_path_truncates_to_whole_levels():
    config = ValueConfig(path="8bit")
    scale = tile_scale(surface(), config)
    heights = np.array([[0.0, 0.99, 59.5, 255.9]])
    values = to_network(heights, scale, config)
    np.testing.assert_allclose(values, normalise_levels(np.array([[0, 0, 59, 255]]), 0.5))
    middles = normalise_levels(np.array([[0.5, 59.5, 254.5]]), 0.5)
    assert to_metres(middles, scale, config).tolist() == [[0, 59, 254]]


def test_switching_truncation_on_gives_the_8bit_path():
    heights = np.floor(surface()).astype(np.float64)
    scale = HeightScale(0.0, 1.0)
    exact, whole = (to_network(heights, scale, ValueConfig(path=path)) for path in ("float", "8bit"))
    np.testing.assert_array_equal(exact, whole)
    y = np.random.default_rng(0).uniform(-1, 1, (8, 8)).astype(np.float32)
    truncated = np.floor(to_metres(y, scale, ValueConfig()))
    np.testing.assert_array_equal(truncated, to_metres(y, scale, ValueConfig(path="8bit")))


def test_a_tiles_own_span_fills_the_interval():
    values = ValueConfig(span="tile", least_span=10)
    heights = surface(base=400).astype(np.float64)
    scaled = to_network(heights, tile_scale(heights, values), values)
    assert np.percentile(scaled, 99.5) - np.percentile(scaled, 0.5) == pytest.approx(1.6, abs=0.01)
    flat = np.full((4, 4), 400.0)
    assert tile_scale(flat, values) == HeightScale(395.0, 10 / 255)


@pytest.mark.parametrize(("low", "high"), [(-3.0, 50.0), (20.0, 256.0)])
def test_heights_without_a_level_are_refused(low, high):
    heights = np.full((8, 8), 30.0)
    heights[0, 0], heights[1, 1] = low, high
    with pytest.raises(InputError, match=r"0 to 255 m.*values\.path=float"):
        to_network(heights, HeightScale(0.0, 1.0), ValueConfig(path="8bit"))


@pytest.mark.parametrize("wrong", [-1.5, 3.0, 120.0])
def test_ndvi_outside_its_range_is_refused(wrong):
    ndvi = np.zeros((4, 4), np.float32)
    ndvi[2, 2] = wrong
    with pytest.raises(InputError, match=r"NDVI must lie in \[-1, 1\]"):
        ndvi_levels(ndvi)
    assert ndvi_levels(np.array([[-1, 0, 1, np.nan]])).tolist() == [[0, 127.5, 255, 0]]


@pytest.mark.parametrize(
    "values", [{"path": "8bit", "span": "tile"}, {"step": 0.0}, {"span": "tile", "least_span": -1.0}]
)
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError):
        ValueConfig(**values)


@pytest.mark.parametrize("size", [0, 128, 300])
def test_tiles_are_multiples_of_256(size):
    with pytest.raises(ValueError, match="multiple of 256"):
        InferenceConfig(tile_size=size)


# --- tiles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0.0, 0.125, 0.25, 0.5])
def test_weights_of_overlapping_tiles_sum_to_one(overlap):
    shared = round(256 * overlap)
    weights = profile(256, shared)
    if shared:
        np.testing.assert_allclose(weights[-shared:] + weights[:shared], 1)
    plan = plan_tiles(grid_of(600, 560), 256, overlap)
    covered = np.zeros((600, 560), int)
    for index in range(len(plan)):
        part = plan.window(index).intersection(Window(0, 0, 560, 600))
        covered[part.slices] += 1
    assert covered.min() >= 1
    if not overlap:
        assert covered.max() == 1


def test_heights_come_back_where_there_were_heights():
    heights = surface()
    heights[100:130, 20:60] = np.nan
    out, _ = refined(method_of(), scene_of(heights))
    assert (np.isnan(out) == np.isnan(heights)).all()


def test_tiles_without_any_height_stay_empty():
    heights = surface(256, 512)
    heights[:, :256] = np.nan
    out, _ = refined(method_of(overlap=0.0), scene_of(heights))
    assert np.isnan(out[:, :256]).all() and np.isfinite(out[:, 256:]).all()


@pytest.mark.parametrize("shape", [(40, 60), (256, 256), (300, 257)])
def test_any_size_is_refined(shape):
    out, _ = refined(
        method_of(), scene_of(surface(300, 280)[: shape[0], : shape[1]] if shape[1] <= 280 else surface(*shape))
    )
    assert np.isfinite(out).all()


def test_the_tile_span_does_not_depend_on_the_height_of_the_place():
    values = ValueConfig(span="tile")
    low, _ = refined(method_of(values=values), scene_of(surface(base=60)))
    high, _ = refined(method_of(values=values), scene_of(surface(base=3060)))
    np.testing.assert_allclose(high - 3000, low, atol=5e-3)


def test_blending_leaves_no_seams():
    """The step over a tile border against the step inside: the official grid of separate tiles has 1.87."""
    heights = surface(512, 512, seed=3)
    ratios = {}
    for overlap in (0.0, 0.25):
        out, _ = refined(method_of(values=ValueConfig(span="tile"), overlap=overlap), scene_of(heights))
        steps = np.abs(np.diff(out, axis=1)).mean(axis=0)
        borders = [255] if not overlap else [191, 255]  # where a tile ends or begins
        # Against the neighbours of the same parity: a transposed convolution treats even and odd columns apart.
        around = [np.mean(np.concatenate([steps[b - 8 : b : 2], steps[b + 2 : b + 10 : 2]])) for b in borders]
        ratios[overlap] = max(steps[b] / inside for b, inside in zip(borders, around, strict=True))
    assert ratios[0.25] < 1.1 < ratios[0.0]


def test_batches_do_not_change_results():
    heights = surface(512, 512)
    one, _ = refined(method_of(batch_tiles=1), scene_of(heights))
    four, _ = refined(method_of(batch_tiles=4), scene_of(heights))
    np.testing.assert_allclose(one, four, atol=1e-4)


def test_a_scene_without_ndvi_needs_weights_for_the_dsm_alone():
    with pytest.raises(UnsupportedError, match="need an NDVI"):
        method_of().prepare(scene_of(surface(), ndvi=False), Context())
    _, notes = refined(method_of(1), scene_of(surface(), ndvi=False))
    assert notes["inputs"] == ["dsm"]


# --- official files -------------------------------------------------------------------------------------------------


def official_run(folder, ngf=4, input_nc=2):
    """A run folder of the official code with a small network."""
    torch.manual_seed(0)
    net = Generator(GeneratorConfig(input_nc, 1, ngf))
    folder.mkdir(parents=True)
    torch.save(net.state_dict(), folder / "latest_net_G.pth")
    lines = ["----------------- Options ---------------", f"{'ngf':>25}: {ngf!s:<30}\t[default: 64]"]
    lines += [f"{'input_nc':>25}: {input_nc!s:<30}", f"{'epoch':>25}: latest", f"{'suffix':>25}: "]
    (folder / "all_opt.txt").write_text("\n".join([*lines, "----------------- End -------------------"]))
    return net.eval()


def test_run_folders_become_weights(tmp_path):
    net = official_run(tmp_path / "run")
    assert Files().import_weights(tmp_path / "run", tmp_path / "weights", {})["input channels"] == 2
    meta = read_weights(tmp_path / "weights").meta
    assert meta["values"] == dataclasses.asdict(ValueConfig())
    assert meta["generator"]["ngf"] == 4
    method = Pix2Pix(None, tmp_path / "weights")
    for key, tensor in net.state_dict().items():
        assert torch.equal(method.net.state_dict()[key], tensor)


def test_a_prefix_of_parallel_training_is_dropped(tmp_path):
    net = official_run(tmp_path / "run")
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save(state, tmp_path / "run" / "7_net_G.pth")
    assert Files().import_weights(tmp_path / "run", tmp_path / "weights", {"epoch": 7})["parameters"] > 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model.model.0.weight": torch.zeros(1)}, "skips are concatenated"),
        ({"downblock_8.0.weight": torch.zeros(4, 2, 4, 4), "upblock_8.1.weight": torch.zeros(4, 1, 4, 4)}, "it lacks"),
        ({"other": torch.zeros(1)}, "no generator of the DSM enhancer"),
        ({"other": 3}, "no state dict"),
    ],
)
def test_other_networks_are_named(tmp_path, content, words):
    torch.save(content, tmp_path / "latest_net_G.pth")
    with pytest.raises(WeightsError, match=words):
        Files().import_weights(tmp_path, tmp_path / "weights", {})
    assert not (tmp_path / "weights").exists()


def test_options_files_are_configurations(tmp_path):
    official_run(tmp_path / "run")
    found = Files().read_config(tmp_path / "run" / "all_opt.txt").values
    assert found["generator"] == {"input_nc": 2, "ngf": 4}
    assert found["values"]["path"] == "8bit" and found["weights"].endswith("latest_net_G.pth")
    options = read_options(tmp_path / "run" / "all_opt.txt")
    assert options["suffix"] == ""
    lines = (tmp_path / "run" / "all_opt.txt").read_text().splitlines()
    path = tmp_path / "trimmed_opt.txt"
    path.write_text("\n".join(line.rstrip() for line in lines))
    assert read_options(path) == options
    path = tmp_path / "bad_opt.txt"
    path.write_text("----------------- Options ---------------\n  ngf: many\n")
    with pytest.raises(ConfigError, match="ngf must be a number"):
        Files().read_config(path)
    path.write_text("----------------- Options ---------------\n  direction: AtoB\n")
    with pytest.raises(ConfigError, match="BtoA"):
        Files().read_config(path)
    path.write_text("just text")
    assert Files().read_config(path) is None


def test_exported_tiles_are_read_as_the_scene_is(tmp_path):
    heights = surface(300, 520, base=20.4)
    heights[5, 5] = np.nan
    truth = surface(300, 520, base=20.9, seed=4)
    scene = scene_of(heights)
    reference = Reference(ArraySource(DSM(truth, scene.grid)))
    assert export_scene(dataclasses.replace(scene, reference=reference), tmp_path / "tiles")["tiles"] == 2
    names = sorted(path.name for path in (tmp_path / "tiles" / "inputs").iterdir())
    assert names == ["256-0-0.tif", "256-256-0.tif"] and parse_tile_name(names[1]) == (256, 256, 0)
    pixels = np.asarray(Picture.open(tmp_path / "tiles" / "inputs" / names[0]))
    assert pixels.shape == (256, 512, 3) and pixels.dtype == np.uint8
    dsm, ndvi = halves(pixels)
    expected = np.floor(np.nan_to_num(heights[:256, :256], nan=0.0))
    np.testing.assert_array_equal(dsm, expected)
    assert ndvi[5, 5] == 0
    assert np.asarray(Picture.open(tmp_path / "tiles" / "training" / names[0])).shape == (256, 768, 3)


def test_the_8bit_path_of_a_scene_is_the_official_one_tile_by_tile():
    heights, ndvi = np.floor(surface(256, 512, base=30)), True
    scene = scene_of(heights, ndvi)
    method = method_of(values=ValueConfig(path="8bit"))
    out, notes = refined(method, scene)
    assert notes["overlap"] == 0.0
    levels = np.rint(ndvi_levels(scene.ndvi.read().pixels[0]))
    for col in (0, 256):
        part = np.s_[:, col : col + 256]
        x = np.stack([normalise_levels(heights[part], 0.5), normalise_levels(levels[part], 0.7)])
        with torch.no_grad():
            y = method.net(torch.from_numpy(x[None]))[0, 0].numpy()
        official = as_rgb(np.floor(levels_of(y)).astype(np.uint8))[..., 0].astype(int)
        different = out[part] != official
        assert np.abs(out[part] - official).max() <= 1 and different.mean() < 1e-3
    assert (out == np.rint(out)).all() and levels_of(y).max() <= 255


# --- the command line -----------------------------------------------------------------------------------------------


def write_raster(path, values, names=(), **options):
    bands, rows, cols = values.shape
    grid = grid_of(rows, cols)
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=bands, dtype=values.dtype, crs=grid.crs,
        transform=grid.transform, **options,
    ) as file:  # fmt: skip
        file.write(values)
        for band, name in enumerate(names, 1):
            file.set_band_description(band, name)


def test_ndvi_comes_from_the_bands_of_an_ortho(tmp_path):
    official_run(tmp_path / "run")
    heights = surface(260, 260)
    write_raster(tmp_path / "dsm.tif", heights[None])
    rng = np.random.default_rng(0)
    bands = rng.integers(10, 2000, (4, 260, 260)).astype(np.uint16)
    write_raster(tmp_path / "ortho.tif", bands, ("blue", "green", "Red", "NIR"))
    red, nir = bands[2].astype(float), bands[3].astype(float)
    write_raster(tmp_path / "ndvi.tif", ((nir - red) / (nir + red)).astype(np.float32)[None])
    plain = ("run", "--method", "pix2pix", "--weights", "run/latest_net_G.pth", "--dsm", "dsm.tif", "--no-report")
    refbench(tmp_path, *plain, "--ortho", "ortho.tif", "--out", "a")
    refbench(tmp_path, *plain, "--ndvi", "ndvi.tif", "--out", "b")
    with rasterio.open(tmp_path / "a" / "dsm.tif") as a, rasterio.open(tmp_path / "b" / "dsm.tif") as b:
        np.testing.assert_allclose(a.read(1), b.read(1), atol=1e-3)
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert any("NDVI from" in bridge for bridge in result["bridges"])


@pytest.mark.parametrize("kind", ["tall", "ndvi"])
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, kind):
    official_run(tmp_path / "run")
    heights, ndvi = surface(260, 260), np.zeros((260, 260), np.float32)
    if kind == "tall":
        heights[3, 3] = 300
    else:
        ndvi[3, 3] = 2
    write_raster(tmp_path / "dsm.tif", heights[None])
    write_raster(tmp_path / "ndvi.tif", ndvi[None])
    said = refbench(
        tmp_path,
        *("run", "--method", "pix2pix", "--config", "8bit", "--weights", "run", "--dsm", "dsm.tif"),
        *("--ndvi", "ndvi.tif", "--out", "out"),
        code=2,
    )
    assert ("0 to 255 m" if kind == "tall" else "[-1, 1]") in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


# --- training -------------------------------------------------------------------------------------------------------


def learner(**changes):
    pytest.importorskip("lightning_fabric")
    training = TrainingConfig(samples_per_epoch=4, **{"batch_size": 1, "lr": 1e-3, **changes})
    shape = GeneratorConfig(1, 1, 4, no_dropout=changes.get("pool_size") is None)
    config = Pix2PixConfig(generator=shape, values=ValueConfig(span="tile"), training=training)
    return Pix2Pix(config)


def place(seed=0):
    truth = surface(256, 256, seed=seed)
    scene = scene_of((truth + np.random.default_rng(seed).normal(0, 2, truth.shape)).astype(np.float32), ndvi=False)
    return dataclasses.replace(scene, id=f"place-{seed}", reference=Reference(ArraySource(DSM(truth, scene.grid))))


@pytest.mark.slow
def test_learning_lowers_the_error_and_saves_official_files(tmp_path):
    method = learner()
    before = {key: tensor.clone() for key, tensor in method.net.state_dict().items()}
    trained = method.fit([place(0), place(1)], Context(), steps=40, folder=tmp_path)
    facts = trained.provenance
    assert not method.is_trained and all(torch.equal(method.net.state_dict()[key], before[key]) for key in before)
    scores = np.genfromtxt(tmp_path / "validation.csv", delimiter=",", names=True)["mae"]
    assert facts["best_validation_mae"] == pytest.approx(scores.min()) and scores.min() < 0.7 * scores[0]
    assert {"latest.pt", "latest_net_G.pth", "latest_net_D.pth", "train_opt.txt"} <= {
        p.name for p in tmp_path.iterdir()
    }
    trained.save(tmp_path / "weights")
    again = Pix2Pix(None, tmp_path / "weights")
    assert again.values.span == "tile" and again.facts == {"gsd": 0.5} and again.weights_used == tmp_path / "weights"
    for key, tensor in trained.tensors.items():
        assert torch.equal(again.net.state_dict()[key], tensor)
    assert read_weights(tmp_path / "weights").meta["provenance"]["steps"] == 40
    (log,) = (path.parent for path in tmp_path.rglob("events.*"))
    pictures = EventAccumulator(str(log), size_guidance={"images": 0}).Reload().Images("input, refined, truth/0")
    assert len(pictures) == len(scores) and (pictures[0].width, pictures[0].height) == (3 * 256, 256)
    options = read_options(tmp_path / "train_opt.txt")
    assert options["ngf"] == "4" and options["gan_mode"] == "vanilla"


def test_a_training_from_an_official_checkpoint_takes_its_discriminator(tmp_path):
    first = learner()
    first.fit([place(0)], Context(), steps=2, folder=tmp_path)
    judge = torch.load(tmp_path / "latest_net_D.pth")
    old = {"model.2.running_mean": torch.zeros(3), "model.2.num_batches_tracked": torch.tensor(4)}
    torch.save({**judge, **old}, tmp_path / "latest_net_D.pth")
    config = dataclasses.replace(first.config, training=dataclasses.replace(first.config.training, lr=1e-12))
    again = Pix2Pix(dataclasses.replace(config, values=ValueConfig(path="8bit")), tmp_path / "latest_net_G.pth")
    facts = again.fit([place(0)], Context(), steps=1, folder=tmp_path / "more").provenance
    assert facts["discriminator"] == "from the official checkpoint"
    kept = torch.load(tmp_path / "more" / "latest_net_D.pth")
    assert all(torch.allclose(kept[k], judge[k], atol=1e-6) for k in judge if k.endswith(("weight", "bias")))
    torch.save({"model.0.weight": torch.zeros(1, 1, 1, 1)}, tmp_path / "latest_net_D.pth")
    with pytest.raises(WeightsError, match="another discriminator"):
        Pix2Pix(config, tmp_path / "latest_net_G.pth").fit([place(0)], Context(), steps=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"gan_mode": "wgangp", "gradient_penalty": 10.0},
        {"gan_mode": "lsgan", "lambda_normals": 5.0, "beta_MSE": 50.0},
        {"pool_size": 4, "quarter_turns": True, "batch_size": 2},
    ],
)
def test_options_train_and_resume(tmp_path, changes):
    whole, parts = learner(**changes), learner(**changes)
    whole.fit([place(0)], Context(seed=1), steps=4, folder=tmp_path / "whole")
    parts.fit([place(0)], Context(seed=1), steps=2, folder=tmp_path / "parts")
    if "pool_size" in changes:
        return  # the pool's old fakes are not kept in a checkpoint
    again = learner(**changes)
    again.fit([place(0)], Context(seed=1), steps=4, folder=tmp_path / "parts", resume=True)
    first, second = (torch.load(tmp_path / name / "latest_net_G.pth") for name in ("whole", "parts"))
    for key, tensor in first.items():
        torch.testing.assert_close(second[key], tensor, rtol=0, atol=1e-5)


def test_rates_never_turn_negative():
    share = LinearShare(1, 3, 2)
    assert [share(epoch) for epoch in range(7)] == pytest.approx([1, 1, 1, 2 / 3, 1 / 3, 0, 0])


def test_scenes_that_cannot_train_are_refused():
    with pytest.raises(InputError, match="needs an initial DSM and a reference"):
        learner().fit([dataclasses.replace(place(), reference=None)], Context(), steps=1)
    with pytest.raises(ConfigError, match="name their folders"):
        learner().fit([], Context(), steps=1)
    two = Pix2Pix(Pix2PixConfig(generator=GeneratorConfig(2, 1, 4)))
    with pytest.raises(InputError, match=r"generator\.input_nc=1"):
        two.fit([place()], Context(), steps=1)


def test_a_folder_of_official_tiles_goes_through(tmp_path):
    official_run(tmp_path / "run")
    heights, places = np.floor(surface(512, 256, base=30)), [(256, 12288, 6656), (256, 12288, 6912)]
    (tmp_path / "tiles").mkdir()
    for number, (size, x, y) in enumerate(places):
        part = np.concatenate([heights[256 * number : 256 * number + 256], np.full((256, 256), 116)], axis=1)
        pixels = np.repeat(part.astype(np.uint8)[..., None], 3, axis=2)
        Picture.fromarray(pixels).save(tmp_path / "tiles" / f"{size}-{x}-{y}.tif")
    said = refbench(
        tmp_path,
        *("run", "tiles", "--method", "pix2pix", "--config", "8bit", "--weights", "run", "--no-report"),
        *("--reporter", "pix2pix-tiles", "--out", "out"),
    )
    assert "no georeference" in said.replace("\n", " ")
    with rasterio.open(tmp_path / "out" / "dsm.tif") as file:
        dsm = file.read(1)
    for number, (size, x, y) in enumerate(places):
        tile = np.asarray(Picture.open(tmp_path / "out" / "pix2pix_outputs" / f"{size}-{x}-{y}.tif"))
        assert tile.shape == (256, 256, 3) and (tile[..., 0] == tile[..., 2]).all()
        np.testing.assert_array_equal(tile[..., 0], dsm[256 * number : 256 * number + 256])
    (tmp_path / "tiles" / "256-0-0.tif").write_bytes(b"no picture")
    assert "cannot be read" in refbench(tmp_path, "run", "tiles", "--method", "pix2pix", "--out", "no", code=2)
