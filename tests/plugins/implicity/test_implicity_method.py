"""ImpliCity as a method: small and empty scenes, fallbacks, weights, images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from makers import grid_of
from rasterio.crs import CRS

from refbench.contracts.errors import SkippedError, UnsupportedError, WeightsError
from refbench.contracts.method import Context
from refbench.contracts.need import Need
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import Image
from refbench.contracts.scene import Scene
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.geometry.image_scale import ImageScale, one_band, robust_scale
from refbench.weights.weights_folder import read_weights, write_weights
from refbench_implicity.config import (
    DecoderConfig,
    ImageEncoderConfig,
    ImpliCityConfig,
    ModelConfig,
    NormalisationConfig,
    PointEncoderConfig,
    SurfaceConfig,
)
from refbench_implicity.images import OrthoPatches
from refbench_implicity.method import ImpliCity
from refbench_implicity.normalise import resolve_normalisation
from refbench_implicity.tiling import blend_profile, plan_patches
from refbench_implicity.weights import filled_network, read_model, trained_model

WEST, SOUTH = 463_948.0, 5_249_174.0
UTM = CRS.from_epsg(32632)
ROBUST = NormalisationConfig(image_rule="robust")
LAST_STEP = 16 / 4**4


def grid(rows, cols, gsd=0.5):
    return grid_of(rows, cols, gsd, WEST, SOUTH + rows * gsd)


def small(images):
    image = ImageEncoderConfig(in_channel=images, feature_dim=8, num_hourglass=1, num_stack=1) if images else None
    return ModelConfig(
        PointEncoderConfig(hidden_dim=8, feature_dim=8, plane_resolution=16, unet=None),
        image,
        DecoderConfig(feature_dim=8, hidden_size=8, n_blocks=2),
    )


def stored(method):
    """What a method's network and constants are on disk."""
    return trained_model(method.net, method.normalisation, method.constants)


def flat_weights(folder, images=0, height=0.1, **config):
    """Weights whose surface is ``height`` z units above each patch's shift: logit = height - z."""
    method = ImpliCity(
        ImpliCityConfig(model=small(images), normalisation=ROBUST, patch_size=16.0, pixel_size=0.5, **config)
    )
    with torch.no_grad():
        for parameter in method.net.decoder.parameters():
            parameter.zero_()
        method.net.decoder.fc_p.weight[0, 2], method.net.decoder.fc_p.weight[1, 2] = 1, -1
        method.net.decoder.fc_out.weight[0, 0], method.net.decoder.fc_out.weight[0, 1] = -1, 1
        method.net.decoder.fc_out.bias[0] = height
    stored(method).save(folder)
    return folder


def scene(rows, cols, xyz=None, orthos=0, gsd=0.5):
    here = grid(rows, cols, gsd)
    rng = np.random.default_rng(1)
    if xyz is None:
        xyz = np.column_stack([rng.random((4000, 2)) * [cols * gsd, rows * gsd], np.full(4000, 430.0)])
    images = {}
    for name in "abc"[:orthos]:
        pixels = rng.integers(0, 2000, (3, rows, cols)).astype(np.uint16)
        images[name] = ArraySource(Image(pixels, here))
    points = HeldPoints(PointCloud(np.asarray(xyz, np.float64) + np.array([WEST, SOUTH, 0]), UTM))
    return Scene("s", here, points=points, orthos=images, pairs=(("a", "b"),) if orthos >= 2 else ())


def refine(method, place):
    notes = method.prepare(place, Context())
    writer = ArrayWriter(np.full(place.grid.shape, -1, np.float32))
    run_tiles(method, place, Context(), writer, needs=(Need.POINTS,), fills=True)
    return writer.heights, notes


EXPECTED = 430 + 0.1 * 29.83779098


@pytest.mark.parametrize(("rows", "cols"), [(80, 70), (20, 90), (9, 7), (32, 32), (33, 47)])
def test_scenes_of_any_size(tmp_path, rows, cols):
    heights, notes = refine(ImpliCity(None, flat_weights(tmp_path / "0")), scene(rows, cols))
    assert notes["variant"] == "0"
    assert (np.abs(heights - EXPECTED + LAST_STEP / 2) <= LAST_STEP).all()


def test_patch_without_points_is_nodata_and_harms_no_neighbour(tmp_path):
    rng = np.random.default_rng(2)
    xyz = np.column_stack([rng.random((3000, 2)) * [20, 20], np.full(3000, 430.0)])
    place = scene(40, 160, xyz)
    heights, _ = refine(ImpliCity(None, flat_weights(tmp_path / "0")), place)
    assert np.isnan(heights[:, 80:]).all()
    assert np.isfinite(heights[:, :64]).all()
    assert np.nanmax(np.abs(heights - EXPECTED)) < 2 * LAST_STEP
    config = ImpliCityConfig(surface=SurfaceConfig(fill_patches=True))
    filled, _ = refine(ImpliCity(config, tmp_path / "0"), place)
    assert (filled[:, 120:] == 430).all()


def test_single_point_and_empty_cloud(tmp_path):
    method = ImpliCity(None, flat_weights(tmp_path / "0"))
    one, _ = refine(method, scene(40, 40, [[10.0, 10.0, 77.0]]))
    assert np.nanmax(np.abs(one - (77 + 0.1 * 29.83779098))) < 2 * LAST_STEP
    none, _ = refine(method, scene(40, 40, np.empty((0, 3))))
    assert np.isnan(none).all()


def test_empty_columns_can_stay_nodata(tmp_path):
    folder = flat_weights(tmp_path / "0", height=-50.0)
    place = scene(40, 40)
    assert (refine(ImpliCity(None, folder), place)[0] == 430).all()
    config = ImpliCityConfig(surface=SurfaceConfig(fill_empty=False))
    assert np.isnan(refine(ImpliCity(config, folder), place)[0]).all()


def test_falls_back_where_images_are_missing(tmp_path):
    stereo = flat_weights(tmp_path / "stereo", 2)
    flat_weights(tmp_path / "0", 0)
    _, notes = refine(ImpliCity(None, stereo), scene(40, 40, orthos=2))
    assert (notes["variant"], notes["images"], notes["remarks"]) == ("stereo", ["a", "b"], [])
    heights, notes = refine(ImpliCity(None, stereo), scene(40, 40, orthos=1))
    assert notes["variant"] == "0"
    assert notes["weights"] == str(tmp_path / "0")
    assert "fell back from ImpliCity-stereo to -0" in notes["remarks"][0]
    assert np.isfinite(heights).all()
    flat_weights(tmp_path / "mono", 1)
    _, notes = refine(ImpliCity(None, stereo), scene(40, 40, orthos=1))
    assert (notes["variant"], notes["images"]) == ("mono", ["a"])


def test_no_weights_for_fewer_images(tmp_path, monkeypatch):
    monkeypatch.setattr("refbench_implicity.method.BUILT_IN", tmp_path / "none")
    method = ImpliCity(None, flat_weights(tmp_path / "mine" / "two", 2))
    with pytest.raises(UnsupportedError, match="needs 2 ortho images, the scene has 1"):
        method.prepare(scene(40, 40, orthos=1), Context())


def test_untrained_network_is_skipped():
    with pytest.raises(SkippedError, match="import-weights"):
        ImpliCity(ImpliCityConfig(model=small(0))).prepare(scene(40, 40), Context())


def test_variant_selects_among_weights_that_go_by_that_name(tmp_path):
    stereo = flat_weights(tmp_path / "stereo", 2)
    flat_weights(tmp_path / "0", 0)
    assert ImpliCity(ImpliCityConfig(variant=0), stereo).model.n_images == 0
    other = flat_weights(tmp_path / "mine", 2)
    with pytest.raises(WeightsError, match=r"mine is ImpliCity-stereo; the configuration asks for -0"):
        ImpliCity(ImpliCityConfig(variant="0"), other)


def test_weights_of_another_architecture_are_refused(tmp_path):
    folder = flat_weights(tmp_path / "0")
    other = dataclasses.replace(small(0), decoder=DecoderConfig(feature_dim=8, hidden_size=24))
    with pytest.raises(WeightsError, match=r"decoder.hidden_size = 24 is asked for, decoder.hidden_size = 8 stored"):
        ImpliCity(ImpliCityConfig(model=other), folder)
    stored = read_weights(folder)
    tensors = dict(stored.tensors())
    tensors["decoder.fc_p.weight"] = np.zeros((5, 3), np.float32)
    write_weights(tmp_path / "broken", tensors, stored.meta, "")
    with pytest.raises(WeightsError, match=r"decoder.fc_p.weight is \[5, 3\], the network's \[8, 3\]"):
        ImpliCity(None, tmp_path / "broken")
    write_weights(tmp_path / "foreign", tensors, {"method": "resdepth"}, "")
    with pytest.raises(WeightsError, match="holds weights of resdepth"):
        ImpliCity(None, tmp_path / "foreign")


@pytest.mark.parametrize("kept", [".bn4.", ".downsample.0."])
def test_either_name_of_an_aliased_module_is_enough(tmp_path, kept):
    method = ImpliCity(ImpliCityConfig(model=small(1)))
    state = method.net.state_dict()
    dropped = {".bn4.": ".downsample.0.", ".downsample.0.": ".bn4."}[kept]
    pair = {key.replace(kept, dropped) for key in state if kept in key}
    content = {"model": {key: value for key, value in state.items() if key not in pair}, "n_iter": 3}
    assert len(content["model"]) < len(state)
    torch.save(content, tmp_path / "model.pt")
    for key, value in filled_network(read_model(tmp_path / "model.pt"), small(1)).state_dict().items():
        assert torch.equal(value, state[key])


def test_half_precision_comes_back_as_float32(tmp_path):
    method = ImpliCity(ImpliCityConfig(model=small(2)))
    stored(method).save(tmp_path / "full")
    stored(method).save(tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    back = ImpliCity(None, tmp_path / "half")
    for key, value in back.net.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, method.net.state_dict()[key], rtol=1e-3, atol=1e-4)


def test_constants_travel_with_the_weights(tmp_path):
    config = ImpliCityConfig(
        model=small(0), normalisation=NormalisationConfig(z_std=11.0, z_shift="mean"), patch_size=24.0, threshold=0.4
    )
    stored(ImpliCity(config)).save(tmp_path / "w")
    back = ImpliCity(None, tmp_path / "w")
    assert back.notes == ()
    assert (back.normalisation.z_std, back.normalisation.z_shift) == (11.0, "mean")
    assert (back.patch_size, back.constants["threshold"]) == (24.0, 0.4)
    assert ImpliCity(ImpliCityConfig(patch_size=20.0), tmp_path / "w").patch_size == 20.0


def test_assumed_constants_are_named():
    values, notes = resolve_normalisation(NormalisationConfig(z_std=10.0), {})
    assert (values.z_std, values.image_mean) == (10.0, 1132.664)
    assert "z_std" not in notes[0]
    assert "image_mean 1132.664" in notes[0]
    robust, notes = resolve_normalisation(NormalisationConfig(image_rule="robust", z_std=1.0, z_shift="mean"), {})
    assert (robust.bands, notes) == ("mean", ())


def test_robust_scale():
    values = np.array([0.0, 10.0, 20.0, 30.0, 40.0, np.nan])
    scale = robust_scale(values)
    assert (scale.centre, scale.spread) == (20.0, 20.0)
    np.testing.assert_allclose(scale.apply(values), [-1, -0.5, 0, 0.5, 1, 0])
    assert robust_scale(np.full(5, 7.0)) == ImageScale(7.0, 1.0)
    assert robust_scale(np.full(5, np.nan)) == ImageScale(0.0, 1.0)


def test_bands_become_one_by_rule():
    pixels = np.stack([np.full((2, 2), 10, np.uint16), np.full((2, 2), 20, np.uint16)])
    image = Image(pixels, valid=np.array([[True, False], [True, True]]))
    np.testing.assert_array_equal(one_band(image, "mean"), [[15, np.nan], [15, 15]])
    np.testing.assert_array_equal(one_band(image, "first"), [[10, np.nan], [10, 10]])


@pytest.mark.parametrize(("gsd", "said"), [(0.5, None), (0.25, "0.25 m are resampled to the 0.5 m"), (1.0, "1 m are")])
def test_images_reach_the_network_in_trained_pixels(gsd, said):
    pixels = round(32 / gsd)
    ramp = np.tile(np.arange(pixels) * gsd, (1, pixels, 1)).astype(np.float32)
    source = ArraySource(Image(ramp, grid(pixels, pixels, gsd)))
    patches = OrthoPatches([source], [ImageScale(0.0, 1.0)], "mean", 0.5, 8)
    patch = patches.patch(np.array([WEST + 8, SOUTH + 8]), np.array([16.0, 16.0]))
    assert patch.shape == (1, 1, 32, 32)
    middle = patch[0, 0, :, 4:-4]
    steps = (middle[:, 1:] - middle[:, :-1]).numpy()
    np.testing.assert_allclose(steps.mean(), 0.5, atol=0.02)
    assert float(patch[0, 0, 0, 16]) == pytest.approx(16, abs=0.6)
    assert (said is None) == (patches.resampling() is None)
    assert said is None or said in patches.resampling()


def test_images_past_their_edge_count_as_average():
    source = ArraySource(Image(np.full((1, 32, 32), 5.0, np.float32), grid(32, 32)))
    patches = OrthoPatches([source], [ImageScale(1.0, 2.0)], "mean", 0.5, 8)
    patch = patches.patch(np.array([WEST - 8.0, SOUTH]), np.array([16.0, 16.0]))
    assert (patch[0, 0, :, :16] == 0).all()
    assert (patch[0, 0, :, 16:] == 2).all()


def test_plan_covers_and_weights_rise_from_a_thousandth():
    here = grid(90, 70)
    plan = plan_patches(here, 16.0, (5.0, 7.0), (0.5, 0.3))
    covered = np.zeros(here.shape)
    for index in range(len(plan)):
        covered[plan.window(index).slices] += 1
    assert (plan.height, plan.width) == (32, 32)
    assert covered.min() >= 1
    assert plan.anchors.min(axis=0).tolist() == [WEST, SOUTH]
    assert plan.anchors.max(axis=0).tolist() == [here.bounds.east - 16, here.bounds.north - 16]
    assert plan.col_weights[0] == 1e-3
    assert plan.col_weights[15] == 1
    assert (plan.row_weights[9:23] == 1).all()
    assert blend_profile(5, 0.0).tolist() == [1] * 5
    assert blend_profile(4, 0.25).tolist() == [1e-3, 1, 1, 1]


def test_tile_batches_do_not_change_the_numbers(tmp_path):
    method, place = ImpliCity(None, flat_weights(tmp_path / "0")), scene(70, 80)
    method.prepare(place, Context())
    found = []
    for size in (1, 5):
        writer = ArrayWriter(np.zeros(place.grid.shape, np.float32))
        run_tiles(method, place, Context(), writer, needs=(Need.POINTS,), fills=True, batch_tiles=size)
        found.append(writer.heights)
    np.testing.assert_array_equal(*found)
