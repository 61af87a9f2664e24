"""Official files of the DSM enhancer: run folders, options, tiles."""

import dataclasses

import numpy as np
import pytest
from PIL import Image as PilImage

torch = pytest.importorskip("torch")
from pix2pix_blocks import method_of, official_run, refined, scene_of, surface  # noqa: E402

from refbench import DSM  # noqa: E402
from refbench.contracts.errors import ConfigError, WeightsError  # noqa: E402
from refbench.contracts.scene import Reference  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.weights.weights_folder import read_weights  # noqa: E402
from refbench_pix2pix.config import ValueConfig  # noqa: E402
from refbench_pix2pix.method import Pix2Pix  # noqa: E402
from refbench_pix2pix.official.files import Files  # noqa: E402
from refbench_pix2pix.official.names import parse_tile_name  # noqa: E402
from refbench_pix2pix.official.options import read_options  # noqa: E402
from refbench_pix2pix.official.tile_export import export_scene  # noqa: E402
from refbench_pix2pix.official.tiles import as_rgb, halves  # noqa: E402
from refbench_pix2pix.values import (  # noqa: E402
    levels_of,
    ndvi_levels,
    normalise_levels,
)


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
    ground = surface(300, 520, base=20.9, seed=4)
    scene = scene_of(heights)
    reference = Reference(ArraySource(DSM(ground, scene.grid)))
    assert export_scene(dataclasses.replace(scene, reference=reference), tmp_path / "tiles")["tiles"] == 2
    names = sorted(path.name for path in (tmp_path / "tiles" / "inputs").iterdir())
    assert names == ["256-0-0.tif", "256-256-0.tif"] and parse_tile_name(names[1]) == (256, 256, 0)
    pixels = np.asarray(PilImage.open(tmp_path / "tiles" / "inputs" / names[0]))
    assert pixels.shape == (256, 512, 3) and pixels.dtype == np.uint8
    dsm, ndvi = halves(pixels)
    expected = np.floor(np.nan_to_num(heights[:256, :256], nan=0.0))
    np.testing.assert_array_equal(dsm, expected)
    assert ndvi[5, 5] == 0
    assert np.asarray(PilImage.open(tmp_path / "tiles" / "training" / names[0])).shape == (256, 768, 3)


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
