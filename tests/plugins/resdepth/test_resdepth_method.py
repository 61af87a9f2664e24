"""ResDepth as a method: the network, NoData, pairs, averages."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from makers import grid_of, orthos_on, refined_by, scene_with  # noqa: E402
from resdepth_blocks import GSD, SMALL, surface  # noqa: E402

from refbench import Context, Need  # noqa: E402
from refbench.contracts.errors import InputError, UnsupportedError  # noqa: E402
from refbench_resdepth.config import InferenceConfig, ModelConfig, ResDepthConfig  # noqa: E402
from refbench_resdepth.ensemble import Symmetry, image_tuples  # noqa: E402
from refbench_resdepth.method import ResDepth  # noqa: E402
from refbench_resdepth.network.fused import FusedUNet  # noqa: E402
from refbench_resdepth.network.network import UNet, activation, up  # noqa: E402
from refbench_resdepth.scale import Scale  # noqa: E402


def scene_of(heights, orthos=("a", "b"), pairs=(), **parts):
    grid = grid_of(*heights.shape, GSD)
    return scene_with(heights, where={"gsd": GSD}, orthos=orthos_on(grid, orthos), pairs=pairs, **parts)


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
    return refined_by(method, scene, (Need.DSM, Need.ORTHO), fills=fills)


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
