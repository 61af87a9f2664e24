"""One network for 0, 1 or 2 images that knows how sure it is: outputs, shrinkage, training, resuming."""

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from makers import grid_of, orthos_on, refined_by, scene_with  # noqa: E402

from refbench import Context, Need  # noqa: E402
from refbench.contracts.errors import ConfigError  # noqa: E402
from refbench.training.wild import WildSample, sample_path, write_sample  # noqa: E402
from refbench_resdepth.config import InferenceConfig, ModelConfig, ResDepthConfig, WildConfig  # noqa: E402
from refbench_resdepth.method import ResDepth  # noqa: E402
from refbench_resdepth.network.fused import FusedUNet  # noqa: E402
from refbench_resdepth.network.network import UNet  # noqa: E402
from refbench_resdepth.scale import Scale  # noqa: E402
from refbench_resdepth.shrinkage import SIGMA_OF_SCALE, combined, shrunk, standard_deviation  # noqa: E402
from refbench_resdepth.training.fit_wild import FIRST_LOG_SCALE, warm_start  # noqa: E402
from refbench_resdepth.training.wild_samples import HOLE_WEIGHT, WildBatches, patch  # noqa: E402
from refbench_resdepth.training.wild_task import rate_fraction, wild_loss  # noqa: E402

MODEL = ModelConfig(depth=2, start_kernel=4, optional_images=True, hole_channel=True, uncertainty=True)
SCALE = Scale(8.0, height_rule="gsd")
GSD = 0.5


def sample_of(seed=0, side=32, gsd=GSD):
    rng = np.random.default_rng(seed)
    reference = np.full((side, side), 40.0, np.float32)
    reference[8:20, 8:20] += 6
    initial = (reference + rng.normal(0.4, 0.2, reference.shape)).astype(np.float32)
    initial[4:6, 4:9] = np.nan
    images = rng.normal(0, 1, (2, side, side)).astype(np.float16)
    return WildSample(initial, reference, images, gsd, reference > 42, reference > 100)


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    for seed in (1, 2):
        for variant in range(2):
            write_sample(sample_path(folder, seed, variant), sample_of(seed + variant))
    return folder


def method_of(cache=None, **inference):
    wild = None if cache is None else WildConfig(str(cache), tile_size=16, batch_size=2, precision="float32")
    if wild is not None:
        wild = dataclasses.replace(wild, seeds=(1, 2), validate_steps=2, checkpoint_steps=1)
    return ResDepth(ResDepthConfig(model=MODEL, wild=wild, inference=InferenceConfig(tile_size=16, **inference)))


def trained(**inference):
    method = method_of(**inference)
    torch.manual_seed(3)
    method.net = UNet(MODEL).eval()
    method.is_trained, method.scale = True, SCALE
    return method


def scene_of(orthos=("a", "b"), gsd=GSD, scale=1.0):
    images = orthos_on(grid_of(32, 32, gsd), orthos)
    return scene_with(sample_of().initial * scale, where={"gsd": gsd}, orthos=images)


def refined(method, scene):
    return refined_by(method, scene, (Need.DSM, Need.ORTHO))


def test_the_fused_network_gives_both_outputs():
    torch.manual_seed(1)
    net = UNet(MODEL).eval()
    x = torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        plain = net(x)
    assert plain.shape == (2, 2, 16, 16)
    torch.testing.assert_close(FusedUNet(net)(x), plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("orthos", [(), ("a",), ("a", "b")])
def test_images_may_be_missing(orthos):
    layers, notes = refined(trained(), scene_of(orthos))
    initial = sample_of().initial
    np.testing.assert_array_equal(np.isnan(layers["dsm"]), np.isnan(initial))
    known = np.isfinite(initial)
    assert (layers["confidence"][known] > 0).all()
    assert bool(notes["remarks"]) == (len(orthos) < 2)


def test_images_count_where_they_are_given():
    bare, full = refined(trained(), scene_of(()))[0]["dsm"], refined(trained(), scene_of())[0]["dsm"]
    assert np.nanmax(np.abs(bare - full)) > 1e-3


def test_heights_and_pixels_of_twice_the_size_give_twice_the_correction():
    method = trained()
    fine = refined(method, scene_of(()))[0]
    coarse = refined(method, scene_of((), gsd=2 * GSD, scale=2.0))[0]
    np.testing.assert_allclose(coarse["dsm"], 2 * fine["dsm"], atol=2e-3)
    np.testing.assert_allclose(coarse["confidence"], 2 * fine["confidence"], rtol=1e-3)


def test_a_strong_shrinkage_keeps_the_input_and_none_applies_all():
    initial = sample_of().initial
    full = refined(trained(shrink=0.0), scene_of(()))[0]
    some = refined(trained(shrink=1.0), scene_of(()))[0]
    none = refined(trained(shrink=1e6), scene_of(()))[0]
    np.testing.assert_allclose(none["dsm"], initial, atol=1e-3)
    moved = [np.nanmean(np.abs(layers["dsm"] - initial)) for layers in (none, some, full)]
    assert moved[0] < moved[1] < moved[2]


def test_shrinkage_halves_a_correction_of_one_deviation():
    initial, sigma = np.zeros((2, 2), np.float32), np.full((2, 2), 0.5, np.float32)
    kept, left = shrunk(initial, initial + 0.5, sigma, 1.0)
    np.testing.assert_allclose(kept, 0.25)
    np.testing.assert_allclose(left, math.hypot(0.5, 0.25), rtol=1e-6)
    same, unchanged = shrunk(initial, initial, sigma, 1.0)
    np.testing.assert_array_equal(same, 0)
    np.testing.assert_allclose(unchanged, 0.5)


def test_68_percent_of_a_laplace_lie_within_the_deviation():
    errors = np.random.default_rng(0).laplace(0, 0.7, 200_000)
    sigma = standard_deviation(np.array([math.log(0.7)]), 1.0)
    assert sigma[0] == pytest.approx(0.7 * SIGMA_OF_SCALE, rel=1e-6)
    assert (np.abs(errors) < sigma[0]).mean() == pytest.approx(0.68, abs=0.005)


def test_passes_that_disagree_are_less_sure():
    means, sigmas = np.array([[[1.0]], [[3.0]]]), np.array([[[0.5]], [[0.5]]])
    mean, sigma = combined(means, sigmas)
    assert (mean[0, 0], sigma[0, 0]) == (2.0, pytest.approx(math.sqrt(0.25 + 1.0)))


def test_the_scale_that_the_loss_asks_for_is_the_mean_error():
    y = torch.zeros(1, 1, 4, 4)
    heights = torch.full((1, 1, 4, 4), 0.6)
    log_scale = torch.full((1, 1, 4, 4), -0.2, requires_grad=True)
    for _ in range(400):
        loss, mean = wild_loss(torch.cat([heights, log_scale], 1), y, torch.ones_like(y))
        (slope,) = torch.autograd.grad(loss, log_scale)
        log_scale = (log_scale - 10.0 * slope).detach().requires_grad_(True)
    assert float(mean) == pytest.approx(0.6)
    assert float(log_scale.exp().mean()) == pytest.approx(0.6, rel=1e-2)


def test_patches_hold_what_the_network_is_told():
    config = WildConfig("x", keep_m=0.5, keep_weight=3.0)
    sample = sample_of()
    found = patch(sample, (0, 0), 32, [1], SCALE, config)
    std = SCALE.height_std(GSD)
    unknown = np.isnan(sample.initial)
    np.testing.assert_array_equal(found["x"][3] > 0, unknown)
    np.testing.assert_array_equal(found["x"][1], sample.images[1].astype(np.float32))
    assert not found["x"][2].any()
    difference = (found["x"][0] - found["y"][0]) * std
    np.testing.assert_allclose(difference[~unknown], (sample.initial - sample.reference)[~unknown], atol=1e-4)
    near = np.abs(difference) < 0.5
    assert set(np.unique(found["weight"][0][~unknown])) == {1.0, 3.0}
    np.testing.assert_array_equal(found["weight"][0][~unknown] == 3.0, near[~unknown])
    assert found["weight"][0][unknown].max() <= 3.0 * HOLE_WEIGHT


def test_batches_follow_from_seed_and_number(cache):
    config = WildConfig(str(cache), tile_size=16, batch_size=3)
    files = sorted(cache.glob("*.npz"))
    first, second = (WildBatches(files, SCALE, config, 4) for _ in range(2))
    for number in (0, 5):
        for key, value in first[number].items():
            torch.testing.assert_close(value, second[number][key], rtol=0, atol=0)
    assert not torch.equal(first[0]["x"], first[1]["x"])


def test_a_network_of_two_images_starts_the_new_one():
    old = UNet(ModelConfig(depth=2, start_kernel=4)).eval()
    net = UNet(MODEL).eval()
    assert warm_start(net, old.state_dict()) == len(old.state_dict())
    x = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        new, before = net(x), old(x[:, :3])
    torch.testing.assert_close(new[:, :1], before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new[:, 1:], torch.full_like(new[:, 1:], FIRST_LOG_SCALE))


def test_the_rate_rises_stays_and_falls():
    fractions = [rate_fraction(step, 2000) for step in range(2000)]
    assert fractions[0] < 0.05 and max(fractions) == 1.0 and fractions[-1] < 0.05
    assert fractions[800] == 1.0 and fractions[1700] < fractions[1400] < 1.0


def test_training_is_kept_and_resumed(cache, tmp_path):
    whole, parts = method_of(cache), method_of(cache)
    trained = whole.fit([], Context(), steps=4, folder=tmp_path / "whole")
    assert trained.provenance["steps"] == 4 and trained.provenance["samples"] == 4
    parts.fit([], Context(), steps=2, folder=tmp_path / "parts")
    again = method_of(cache)
    resumed = again.fit([], Context(), steps=4, folder=tmp_path / "parts", resume=True)
    assert resumed.provenance["steps"] == 4
    trained.save(tmp_path / "weights", half=True)
    stored = ResDepth(ResDepthConfig(), tmp_path / "weights")
    assert stored.model == MODEL and stored.scale == SCALE
    layers, _ = refined(stored, scene_of())
    assert np.isfinite(layers["confidence"]).any()


def test_another_network_is_refused(cache):
    method = ResDepth(ResDepthConfig(model=ModelConfig(depth=2, start_kernel=4), wild=WildConfig(str(cache))))
    with pytest.raises(ConfigError, match="optional_images"):
        method.fit([], Context(), steps=1)
