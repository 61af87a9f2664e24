"""ImMPI's losses, SSIM, LPIPS and scores: what stays is cached without a change, and what they refuse."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_immpi_render import plain_losses, plain_ssim_map

from refbench import Image
from refbench.contracts.errors import InputError, MissingFileError, WeightsError
from refbench.evaluation.view_scores import view_scores
from refbench_immpi.losses.image_metrics import psnr, ssim_standard, ssim_zero_padded
from refbench_immpi.losses.losses import (
    LossWeights,
    edge_aware_loss,
    l2_loss,
    scale_targets,
    view_losses,
)
from refbench_immpi.losses.lpips import SCALE, SHIFT, SLICES, Lpips, load_lpips
from refbench_immpi.losses.ssim import moments, ssim
from refbench_immpi.planes.render import Rendered


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def lpips():
    torch.manual_seed(0)
    net = Lpips()
    for weight in net.lins.parameters():
        weight.abs_()
    return net


def test_ssim_agrees_with_a_convolution_and_so_does_its_gradient():
    a, b = noise(2, 3, 17, 24, dtype=torch.float64).requires_grad_(), noise(2, 3, 17, 24, seed=1, dtype=torch.float64)
    ours, plain = ssim(a, b), plain_ssim_map(a, b).mean((1, 2, 3))
    torch.testing.assert_close(ours, plain)
    weights = torch.tensor([1.0, -3.0], dtype=torch.float64)
    gradients = [torch.autograd.grad((values * weights).sum(), a)[0] for values in (ours, plain)]
    torch.testing.assert_close(*gradients)


def test_standard_ssim_leaves_the_rim_out():
    a, b = noise(1, 3, 24, 30, dtype=torch.float64), noise(1, 3, 24, 30, seed=1, dtype=torch.float64)
    inner = plain_ssim_map(a, b)[..., 5:-5, 5:-5].mean()
    torch.testing.assert_close(ssim(a, b, "standard")[0], inner)
    assert abs(float(ssim(a, b)[0] - inner)) > 1e-3


def test_known_moments_change_nothing():
    a, b = noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=1)
    assert float(ssim(a, moments(b))) == float(ssim(a, b))


def test_scores_agree_with_those_of_the_house():
    rows, cols = 40, 50
    a, b = noise(1, 3, rows, cols).numpy(), noise(1, 3, rows, cols, seed=1).numpy()
    b = 0.7 * a + 0.3 * b
    valid = np.ones((rows, cols), bool)
    valid[:9, 20:] = False
    expected = view_scores(Image(a[0], valid=valid), Image(b[0]))
    mask = valid[None, None].astype(np.float32)
    assert psnr(a, b, mask) == pytest.approx(expected["psnr_db"], abs=1e-4)
    assert ssim_standard(a, b, mask) == pytest.approx(expected["ssim"], abs=1e-5)
    whole = view_scores(Image(a[0]), Image(b[0]))
    assert ssim_standard(a, b) == pytest.approx(whole["ssim"], abs=1e-5)


def test_zero_padded_ssim_counts_what_is_masked_as_alike():
    a, b = noise(1, 3, 32, 32), noise(1, 3, 32, 32, seed=1)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    assert ssim_zero_padded(a, b, mask) > ssim_zero_padded(a, b) + 0.2


def test_scores_of_equal_images():
    a = noise(2, 3, 16, 16)
    assert psnr(a, a) == float("inf")
    assert ssim_zero_padded(a, a) == ssim_standard(a, a) == 1


def test_psnr_is_the_mean_over_images():
    reference = torch.zeros(2, 1, 4, 4)
    estimate = torch.stack((torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 0.01)))
    assert psnr(estimate, reference) == pytest.approx((20 + 40) / 2, abs=1e-4)


def test_scores_refuse_other_shapes():
    with pytest.raises(InputError, match=r"compares two \[B, C, h, w\] of one size"):
        psnr(noise(1, 3, 4, 4), noise(1, 3, 4, 5))
    with pytest.raises(InputError, match=r"mask of images \[1, 3, 4, 4\] is \[B, 1, h, w\], not \[1, 3, 4, 4\]"):
        psnr(noise(1, 3, 4, 4), noise(1, 3, 4, 4), noise(1, 3, 4, 4))


def views(size=32, scales=3):
    """Rendered views whose masks leave a strip out."""
    found = []
    for scale in range(scales):
        side = size // 2**scale
        mask = torch.ones(1, 1, side, side)
        mask[..., : side // 4] = 0
        depth = 100 + noise(1, 1, side, side, seed=20 + scale)
        found.append(Rendered(noise(1, 3, side, side, seed=10 + scale).requires_grad_(), depth, mask, mask))
    return found


def test_losses_are_those_of_every_scale_alone(lpips):
    image, rendered = noise(1, 3, 32, 32), views(scales=2)
    targets = scale_targets(image, [view.mask for view in rendered], lpips)
    weights = LossWeights(l1=2, ssim=0.5, lpips=3, l2=4, edge=5)
    near, far = torch.tensor([100.0]), torch.tensor([101.0])
    found = view_losses(rendered, targets, weights, lpips=lpips, depth_range=(near, far))
    expected = plain_losses([(view.rgb, view.mask) for view in rendered], image, (2, 0.5, 3), lpips)
    smaller = F.interpolate(image, scale_factor=0.5, mode="bilinear")
    pairs = list(zip(rendered, (image, smaller), strict=True))
    expected["l2"] = 4 * sum(l2_loss(view.rgb, target, view.mask) for view, target in pairs)
    expected["edge"] = 5 * sum(edge_aware_loss(view.depth, target, near, far) for view, target in pairs)
    assert set(found.terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found.terms[name], value, msg=name)
    torch.testing.assert_close(found.total, sum(expected.values()))


def test_cached_targets_serve_again(lpips):
    rendered = views(scales=2)
    targets = scale_targets(noise(1, 3, 32, 32), [view.mask for view in rendered], lpips)
    weights, totals = LossWeights(lpips=1.0), []
    for _ in range(2):
        losses = view_losses(rendered, targets, weights, lpips=lpips)
        totals.append((losses.total.item(), torch.autograd.grad(losses.total, rendered[0].rgb)[0]))
    assert totals[0][0] == totals[1][0]
    assert torch.equal(totals[0][1], totals[1][1])
    assert not targets[0].features[0].requires_grad


def test_no_gradient_outside_the_mask():
    rendered = views()
    targets = scale_targets(noise(1, 3, 32, 32), [view.mask for view in rendered])
    view_losses(rendered, targets, LossWeights()).total.backward()
    for view in rendered:
        outside = view.rgb.grad[(1 - view.mask).bool().expand_as(view.rgb)]
        assert outside.abs().max() == 0 < view.rgb.grad.abs().max()


def test_losses_of_weight_zero_are_absent():
    rendered = views()
    targets = scale_targets(noise(1, 3, 32, 32), [view.mask for view in rendered])
    assert set(view_losses(rendered, targets, LossWeights(ssim=0)).terms) == {"l1"}
    with pytest.raises(InputError, match="All losses have weight 0"):
        view_losses(rendered, targets, LossWeights(l1=0, ssim=0))


def test_losses_name_what_they_lack(lpips):
    rendered = views()
    targets = scale_targets(noise(1, 3, 32, 32), [view.mask for view in rendered])
    for given in (None, lpips):  # the features of the target are missing, too
        with pytest.raises(InputError, match="LPIPS loss needs the weights of LPIPS"):
            view_losses(rendered, targets, LossWeights(lpips=1), lpips=given)
    with pytest.raises(InputError, match="edge-aware loss needs a depth range"):
        view_losses(rendered, targets, LossWeights(edge=1))


def test_a_view_that_sees_nothing():
    with pytest.raises(InputError, match="target view sees no plane"):
        scale_targets(noise(1, 3, 8, 8), [torch.zeros(1, 1, 8, 8)])


def test_edge_aware_loss_of_a_slope():
    """Depth rises by a tenth of the range per column; one edge of height 1 in the middle of four columns."""
    depth = torch.arange(4.0).expand(1, 1, 3, 4) * 2
    image = torch.zeros(1, 3, 3, 4)
    image[..., 2:] = 1
    found = edge_aware_loss(depth, image, torch.tensor([0.0]), torch.tensor([20.0]))
    assert float(found) == pytest.approx((0.1 + 0.1 * np.exp(-1) + 0.1) / 3)


def test_lpips_of_equal_images_is_zero(lpips):
    a = noise(1, 3, 32, 32)
    assert float(lpips(a, a)) == 0
    assert float(lpips(a, noise(1, 3, 32, 32, seed=1))) > 0


def test_lpips_of_small_images(lpips):
    with pytest.raises(InputError, match="LPIPS needs images of 16 x 16 pixels at least, not 15 x 32"):
        lpips(noise(1, 3, 15, 32), noise(1, 3, 15, 32))


def test_lpips_is_frozen_but_hands_gradients_on(lpips):
    a = noise(1, 3, 32, 32).requires_grad_()
    lpips(a, noise(1, 3, 32, 32, seed=1)).sum().backward()
    assert float(a.grad.abs().max()) > 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in lpips.parameters())


def slice_of(place):
    return next(name for name, convs in SLICES.items() if place in [conv[0] for conv in convs])


@pytest.mark.parametrize("form", ["network", "two files"])
def test_lpips_files(tmp_path, lpips, form):
    state = lpips.state_dict()
    linear = {key.replace("lins.", "lin"): value for key, value in state.items() if key.startswith("lins")}
    if form == "network":
        torch.save({**state, **linear}, tmp_path / "lpips.pth")
        paths = [tmp_path / "lpips.pth"]
    else:
        vgg = {
            f"features.{place}.{kind}": state[f"net.{name}.{place}.{kind}"]
            for name, convs in SLICES.items()
            for place, _, _ in convs
            for kind in ("weight", "bias")
        }
        torch.save({**vgg, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg16.pth")
        torch.save(linear, tmp_path / "vgg.pth")
        paths = [tmp_path / "vgg16.pth", tmp_path / "vgg.pth"]
    found = load_lpips(*paths)
    a, b = noise(1, 3, 16, 24), noise(1, 3, 16, 24, seed=1)
    assert float(found(a, b)) == float(lpips(a, b))
    assert not any(parameter.requires_grad for parameter in found.parameters())
    torch.testing.assert_close(found.scaling_layer.shift.flatten(), torch.tensor(SHIFT))
    torch.testing.assert_close(found.scaling_layer.scale.flatten(), torch.tensor(SCALE))


def test_lpips_files_that_do_not_fit(tmp_path, lpips):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth holds no weights of LPIPS or of VGG-16"):
        load_lpips(tmp_path / "other.pth")
    torch.save({key: value for key, value in lpips.state_dict().items() if "lins" not in key}, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"half\.pth does not fit the network: it lacks lins\.0.*vgg\.pth"):
        load_lpips(tmp_path / "half.pth")
    with pytest.raises(MissingFileError, match=r"none\.pth"):
        load_lpips(tmp_path / "none.pth")
