"""Alignment, filters, losses, tonemapper and metrics of diffrender where closed forms or finite differences decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from refbench.contracts.errors import InputError
from refbench_diffrender.depth_mode.tonemapper import Tonemapper, load_tonemapper, quotient_index, save_tonemapper
from refbench_diffrender.losses.atrous import masked_atrous
from refbench_diffrender.losses.colour_loss import colour_loss
from refbench_diffrender.losses.edge_map import EdgeMapTerm, UvEdginess, edge_map
from refbench_diffrender.losses.filters import gaussian_blur, normals_of
from refbench_diffrender.losses.losses import feature_loss, median_loss, smooth_loss
from refbench_diffrender.losses.point_loss import PointTerm
from refbench_diffrender.losses.poisson import PoissonTerm, weight_at
from refbench_diffrender.losses.robust_loss import patch_loss, penalty_loss
from refbench_diffrender.outputs.metrics import BestSoFar, depth_metrics
from refbench_diffrender.views.alignment import (
    Alignment,
    least_squares_alignment,
    map_alignment,
    quantile_alignment,
    ransac_alignment,
    usable_points,
)
from refbench_diffrender.views.depth_image import DepthImage, from_absolute, from_relative, from_rendered, normalised
from refbench_diffrender.views.depth_png import depth_codes, depths_of

SHAPE = (14, 17)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(7)


# Alignment -----------------------------------------------------------------------------------------------------------


def pairs(kind="depth", number=200, seed=1):
    rng = np.random.default_rng(seed)
    relative = rng.uniform(0.05, 1, number)
    line = 0.7 + 3.0 * relative
    return relative, line if kind == "depth" else 1 / line


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_least_squares_finds_the_line(kind):
    relative, depths = pairs(kind)
    found = least_squares_alignment(relative, depths, kind)
    assert (found.offset, found.scale) == pytest.approx((0.7, 3.0), rel=1e-6)
    np.testing.assert_allclose(found.depth(relative), depths, rtol=1e-6)


def test_least_squares_is_about_disparity():
    """No other offset and scale has smaller errors of 1 / depth, though some have smaller errors of depth."""
    relative, depths = pairs()
    depths = depths * np.random.default_rng(2).uniform(0.8, 1.25, len(depths))
    found = least_squares_alignment(relative, depths)

    def error(offset, scale):
        return ((1 / Alignment(offset, scale).depth(relative) - 1 / depths) ** 2).sum()

    best = error(found.offset, found.scale)
    slope, cut = np.polyfit(relative, depths, 1)
    assert best < 0.99 * error(cut, slope)
    around = [error(found.offset + a, found.scale + b) for a in (-0.2, 0, 0.2) for b in (-0.3, 0, 0.3) if a or b]
    assert best < min(around)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_ransac_leaves_outliers_out(kind):
    relative, depths = pairs(kind)
    wrong = np.arange(len(depths)) % 5 < 2
    depths = np.where(wrong, np.random.default_rng(3).uniform(0.2, 9, len(depths)), depths)
    found, agreeing = ransac_alignment(relative, depths, np.random.default_rng(4), kind)
    assert (found.offset, found.scale) == pytest.approx((0.7, 3.0), rel=0.02)
    assert agreeing[~wrong].all()
    assert agreeing[wrong].mean() < 0.2
    again, _ = ransac_alignment(relative, depths, np.random.default_rng(4), kind)
    assert again == found


def test_alignment_needs_ten_points():
    relative, depths = pairs(number=12)
    depths[:3] = 0
    with pytest.raises(InputError, match="only 9 sparse points"):
        usable_points(relative, depths, (0.1, 20))
    assert len(usable_points(relative, np.where(depths == 0, 50, depths), (0.1, 20))[1]) == 12
    for fit in (least_squares_alignment, lambda r, d: ransac_alignment(r, d, np.random.default_rng(0))):
        with pytest.raises(InputError, match="10 are needed"):
            fit(relative[:9], depths[3:])


def test_alignment_refuses_what_falls():
    relative, depths = pairs()
    with pytest.raises(InputError, match="disparities instead of depths"):
        least_squares_alignment(relative, depths.max() + 1 - depths)
    with pytest.raises(InputError, match="cannot be aligned"):
        quantile_alignment(np.full(50, 0.5), depths, 0.01)
    with pytest.raises(InputError, match="agree"):
        ransac_alignment(relative, depths[::-1], np.random.default_rng(1), tolerance=1e-6)
    with pytest.raises(InputError, match="fewer than 10"):
        map_alignment(relative, np.zeros(100))


def test_quantiles_at_the_very_ends():
    relative, depths = pairs()
    found, of_depths, of_relative = quantile_alignment(relative, depths, 0.0, "max")
    assert of_depths.tolist() == [depths.min(), np.median(depths), depths.max()]
    np.testing.assert_allclose(found.depth(of_relative)[[0, 2]], of_depths[[0, 2]])


# Depth images --------------------------------------------------------------------------------------------------------


def test_unknown_codes_stay_unknown():
    raw = torch.arange(200, 410).reshape(14, 15)
    raw[3:6, 4:9] = 0
    relative = normalised(raw)
    found = from_relative(relative, 1.0, 2.0, (0.1, 20), (14, 15))
    assert torch.equal(found.valid == 0, raw == 0)
    assert torch.equal(found.absolute == 0, raw == 0)
    assert from_relative(relative, 1.0, 2.0, (0.1, 20), (14, 15), compat=True).valid.min() == 1


def test_depths_nearer_than_the_offset():
    depth = torch.tensor([[0.5, 1.5], [3.0, 0.0]], requires_grad=True)
    for compat, nearest, slope in ((False, 0.5, 1.0), (True, 1.0, 0.0)):
        found = from_rendered(depth, 1.0, 2.0, compat=compat).absolute
        assert found.tolist() == [[nearest, 1.5], [3.0, 0.0]]
        (gradient,) = torch.autograd.grad(found.sum(), depth)
        assert gradient.tolist() == [[slope, 1.0], [1.0, 0.0]]


def test_a_map_without_relief():
    with pytest.raises(InputError, match="one value only"):
        normalised(torch.full((4, 4), 7))
    with pytest.raises(InputError, match="two different depths"):
        from_absolute(torch.zeros(4, 4))
    image = from_absolute(torch.tensor([[2.0, 0.0], [3.0, 4.0]]))
    assert isinstance(image, DepthImage)
    assert (image.offset, image.scale) == (2.0, 2.0)


def test_losses_refuse_other_sizes():
    for loss in (
        lambda: EdgeMapTerm(torch.ones(4, 5))(torch.ones(5, 4)),
        lambda: PoissonTerm(torch.ones(4, 5))(torch.ones(4, 5), torch.ones(4, 4)),
        lambda: colour_loss(*torch.ones(3, 1, 4, 5, 3), torch.ones(1, 4, 5, 1)),
    ):
        with pytest.raises(InputError, match="of the sizes"):
            loss()


@pytest.mark.parametrize("loss", ["poisson", "edges", "colour"])
def test_gradients_by_finite_differences(loss, random):
    source, target = 1 + torch.rand(2, 6, 7, dtype=torch.float64, generator=random)
    valid = torch.ones_like(source)
    valid[2, 3] = 0
    terms = {
        "poisson": lambda image: PoissonTerm(source)(image, valid),
        "edges": EdgeMapTerm(edge_map(source)),
        "colour": lambda image: colour_loss(
            *(x.reshape(1, 2, 7, 3) for x in (image, source)), valid[None, :2, :, None], source[None, 4:, :, None]
        ),
    }
    assert torch.autograd.gradcheck(terms[loss], target.requires_grad_())


# What the terms mean -------------------------------------------------------------------------------------------------


def test_poisson_looks_at_gradients_only(random):
    source = torch.rand(*SHAPE, generator=random) + 0.1
    term, valid = PoissonTerm(source), torch.ones(SHAPE)
    assert float(term(source, valid)) < 1e-10
    assert float(term(source + 0.3, valid)) < 1e-10
    assert float(term(1.5 * source, valid)) > 1e-5


def test_poisson_follows_the_mask(random):
    source, valid = torch.rand(*SHAPE, generator=random) + 0.1, torch.ones(SHAPE)
    term = PoissonTerm(source)
    first = term.axes(valid)
    assert term.axes(valid.clone()) is first
    target = source.clone()
    target[5, 5] += 1
    with_hole = valid.clone()
    with_hole[4:7, 4:7] = 0
    assert float(term(target, valid)) > 100 * float(term(target, with_hole))


def test_poisson_weight_at_a_smaller_size():
    assert weight_at(400, (720, 1280)) == 400
    assert weight_at(400, (360, 640)) == 100


def test_colour_loss_by_hand():
    found, wanted = torch.zeros(1, 2, 2, 3), torch.full((1, 2, 2, 3), 0.5)
    mask = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 2, 2, 1)
    edges = torch.tensor([1.0, 0.5, 0.0, 0.2]).reshape(1, 2, 2, 1)
    damped = 0.25 * (1 + 0.25) / 4
    assert float(colour_loss(found, wanted, mask, edges)) == pytest.approx(damped * (1 + (0 + 0.5 + 1) / 3))
    assert float(colour_loss(found, wanted, mask, edges, compat=True)) == pytest.approx(damped * (1 + 2.3 / 4))
    assert float(colour_loss(found, wanted, mask * 0, edges)) == 0


def test_edge_map_of_a_step():
    depth = torch.full((21, 30), 3.0)
    depth[:, 15:] = 4.0
    found = edge_map(depth)
    assert float(found[8:13, 5:9].min()) == pytest.approx(1 - 1e-3, abs=1e-5)
    assert float(found[8:13, 14:16].max()) < 0


def test_uv_edginess_draws_vertices_to_steps():
    wanted = torch.ones(20, 40)
    wanted[:, 24:] = 0
    uv = torch.tensor([[0.59, 0.5], [0.2, 0.3]], requires_grad=True)
    loss = UvEdginess(wanted)(uv)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((0.9 + 1) / 2, abs=1e-4)
    assert float(uv.grad[0, 0]) == pytest.approx(-40 / 2, rel=1e-4)
    assert uv.grad[1].tolist() == [0, 0]


def test_points_outside_the_image():
    term = PointTerm(torch.tensor([[-0.9, -0.9], [0.0, 1.4]]), torch.tensor([2.0, 3.0]))
    depth = torch.full((4, 6), 2.25)
    assert term.sampled(depth).tolist() == [2.25, 0.0]
    expected = (0.5 * 0.25**2 / 2 + 0.5 * (3 - 0.25) / 3) / 2
    assert float(term(depth)) == pytest.approx(expected)
    assert term.sampled(torch.full((8, 12), 1.0)).tolist() == [1.0, 0.0]


def test_optional_terms():
    depth = torch.full((12, 12), 2.0)
    bumped = depth.clone()
    bumped[6, 6] = 3.0
    mask = torch.ones(12, 12)
    assert float(smooth_loss(depth, mask)) == pytest.approx(0, abs=1e-12)
    assert float(smooth_loss(bumped, mask)) > 1e-4
    assert float(smooth_loss(bumped, mask, compat=True)) == 0
    assert float(smooth_loss(bumped, mask * 0)) == 0
    assert float(median_loss(bumped)) == pytest.approx(1 / 144)
    features = torch.ones(1, 2, 2, 4)
    assert float(feature_loss(features, 2 * features, torch.tensor([1.0, 0, 1, 1]).reshape(1, 2, 2, 1))) == 1


def test_normals_of_a_plane():
    x, y = torch.meshgrid(torch.arange(11.0), torch.arange(9.0), indexing="xy")
    slope = 0.5
    positions = torch.stack([x, -y, slope * x])[None]
    found = normals_of(positions)[0, :, 4, 5]
    expected = torch.tensor([slope, 0.0, 1.0]) / (1 + slope**2) ** 0.5
    torch.testing.assert_close(found.abs(), expected, atol=1e-4, rtol=0)


def test_masked_atrous_does_not_mix_the_unknown_in():
    image, mask = torch.full(SHAPE, 2.0), torch.ones(SHAPE)
    image[3:5, 3:5], mask[3:5, 3:5] = 50.0, 0.0
    found = masked_atrous(image, torch.rand(SHAPE) + 0.1, mask)
    torch.testing.assert_close(found, torch.full(SHAPE, 2.0))
    assert float(masked_atrous(image, mask * 0, mask).abs().max()) == 0


# Robust photometric terms --------------------------------------------------------------------------------------------


def patches(random):
    base = gaussian_blur(torch.rand(2, 3, 20, 24, generator=random), 5).movedim(1, -1)
    return base, torch.ones(2, 20, 24, 1)


@pytest.mark.parametrize("penalty", ["charbonnier", "huber"])
def test_penalties_bear_outliers(random, penalty):
    image, visible = patches(random)
    assert float(penalty_loss(image, image, visible, penalty=penalty)) == pytest.approx(0, abs=1e-6)
    small, large = (float(penalty_loss(image + d, image, visible, penalty=penalty, scale=0.01)) for d in (0.4, 0.8))
    assert large == pytest.approx(2 * small, rel=0.05)
    hidden = visible.clone()
    hidden[:, 5:10] = 0
    spoiled = image.clone()
    spoiled[:, 5:10] = 9
    assert float(penalty_loss(spoiled, image, hidden, penalty=penalty)) == pytest.approx(0, abs=1e-6)
    assert float(penalty_loss(spoiled, image, hidden * 0, penalty=penalty)) == 0


@pytest.mark.parametrize("patch", ["ssim", "ncc"])
def test_patches(random, patch):
    image, visible = patches(random)
    other = torch.rand_like(image)
    alike, dissimilarity = (float(patch_loss(image, b, visible, patch=patch)) for b in (image, other))
    assert alike < 0.03
    assert dissimilarity > 0.3
    spoiled, hidden = image.clone(), visible.clone()
    spoiled[:, 5:9], hidden[:, 5:9] = other[:, 5:9], 0
    assert float(patch_loss(spoiled, image, hidden, patch=patch)) < 0.03
    assert torch.autograd.gradcheck(
        lambda x: patch_loss(x, other[:1, :4, :5].double(), visible[:1, :4, :5].double(), patch=patch, size=3),
        image[:1, :4, :5].double().requires_grad_(),
    )


def test_correlation_ignores_gain_and_offset(random):
    image, visible = patches(random)
    changed = 0.6 * image + 0.3
    assert float(patch_loss(changed, image, visible, patch="ncc")) < 0.05
    assert float(patch_loss(changed, image, visible, patch="ssim")) > 0.05


# Tonemapper ----------------------------------------------------------------------------------------------------------


def test_tones_there_and_back(random, tmp_path):
    tones = Tonemapper(3)
    with torch.no_grad():
        tones.exposure.copy_(torch.tensor([0.3, -0.2, 0.1]))
        tones.response.copy_(torch.tensor([1.1, 0.9, 1.0]).reshape(1, 3, 1, 1))
    image = 0.1 + 0.8 * torch.rand(2, 5, 6, 3, generator=random)
    torch.testing.assert_close(tones(tones(image, 0, 1), 1, 0), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(tones(image, 2, 2), image, atol=1e-5, rtol=0)
    files = tmp_path / "exposure.txt", tmp_path / "response.txt"
    save_tonemapper(tones, *files)
    again = load_tonemapper(*files)
    assert torch.equal(again.exposure, tones.exposure)
    assert torch.equal(again.response, tones.response)
    assert [group["lr"] for group in tones.groups()] == [5e-3, 5e-4]


def test_views_are_found_by_number():
    exposure = torch.arange(23.0)
    for compat, used in ((False, 13), (True, 12)):
        tones = Tonemapper(23, compat=compat)
        tones.load_state_dict({"exposure": exposure, "response": torch.ones(1, 3, 1, 1)})
        light = tones.linear(torch.full((1, 1, 3), 0.5), 13)
        tones(torch.full((1, 1, 3), 0.5), 13, 0).sum().backward()
        assert torch.nonzero(tones.exposure.grad).ravel().tolist() == [0, used]
        assert float(light.detach().log2()[0, 0, 0]) == pytest.approx(used - 2.223, abs=1e-2)
    assert quotient_index(1, 0) == 0


def test_broken_tone_files(tmp_path):
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("1\n2\n3\n")
    bad.write_text("1\ntwo\n")
    with pytest.raises(InputError, match=r"bad\.txt cannot be read"):
        load_tonemapper(good, bad)
    with pytest.raises(InputError, match=r"gone\.txt cannot be read"):
        load_tonemapper(tmp_path / "gone.txt", good)
    good.write_text("1\n2\n")
    with pytest.raises(InputError, match="holds 2 responses"):
        load_tonemapper(good, good)


# Metrics and codes ---------------------------------------------------------------------------------------------------


def test_metrics_where_nothing_is_known():
    reference, mask = np.full((4, 5), 2, np.float32), np.ones((4, 5), np.float32)
    nothing = depth_metrics(np.zeros((4, 5), np.float32), reference, mask)
    assert nothing["depth_mae (consider up to 4.0m)"] == 2
    assert np.isnan(nothing["depth_L1_inv (consider up to 4.0m)"])
    far = depth_metrics(9 * reference, 3 * reference, mask)
    assert np.isnan(far["depth_rmse (consider up to 4.0m)"])
    assert far["depth_mae (consider up to 7.0m)"] == 1
    assert far["depth_accuracy (tau=0.1)"] == 0


def test_smallest_values_so_far():
    best = BestSoFar()
    best.update({"a": 2.0, "b": float("nan")})
    assert best.update({"a": 3.0, "b": 1.0}) == {"MIN_a": 2.0, "MIN_b": 1.0}


def test_depth_codes_round_and_refuse():
    depth = np.array([[0.0004, 0.0006, 1.2346, np.nan, -1.0]])
    assert depth_codes(depth).tolist() == [[0, 1, 1235, 0, 0]]
    assert depths_of(depth_codes(depth))[0, 2] == np.float32(1.235)
    with pytest.raises(InputError, match="does not fit into 16 bits"):
        depth_codes(np.array([65.6]))
    assert depth_codes(np.array([65.6]), unit=0.01).tolist() == [6560]
