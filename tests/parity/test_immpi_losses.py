"""Parity of ImMPI's losses and scores with the official code, on images and depths of the golden folder."""

import numpy as np
import pytest
import torch
from golden import cases, folder_of, load_npz
from golden_immpi_render import about, files, recipe_lpips, tensors

from refbench_immpi.losses.image_metrics import lpips_distance, psnr, ssim_zero_padded
from refbench_immpi.losses.losses import LossWeights, edge_aware_loss, l1_loss, l2_loss, scale_targets, view_losses
from refbench_immpi.losses.ssim import gaussian_window, ssim
from refbench_immpi.planes.render import Rendered

folder_of("immpi")
FILES = files("E_losses_metrics")
INPUTS = {"image", "image_est", "mask", "depth_est", "depth_gt", "depth_min", "depth_max"}
TOTAL = {"total_2l1_ssim_lpips", "grad_image_est", "total_weights_rgb_ssim_lpips"}
TOLERANCE, GRADIENT = 1e-5, 1e-3


def masked(d):
    return d["image_est"] * d["mask"], d["image"] * d["mask"]


NOT_USED = {"metric_mae_depth", "metric_mae_rgb"}
"""With the depth accuracies, scores of the official program that refbench takes from its own evaluation."""

VALUES = {
    "loss_l1_mask": lambda d: l1_loss(d["image_est"], d["image"], d["mask"]),
    "loss_l1_full": lambda d: l1_loss(d["image_est"], d["image"]),
    "loss_l2_mask": lambda d: l2_loss(d["image_est"], d["image"], d["mask"]),
    "loss_ssim_mask": lambda d: 1 - ssim(*masked(d)).mean(),
    "loss_ssim_full": lambda d: 1 - ssim(d["image_est"], d["image"]).mean(),
    "loss_edge": lambda d: edge_aware_loss(d["depth_est"], d["image"], d["depth_min"], d["depth_max"]),
    "ssim_per_image": lambda d: ssim(d["image_est"], d["image"]),
    "ssim_window11": lambda d: torch.outer(gaussian_window(), gaussian_window())[None, None],
    "loss_lpips_mask": lambda d: recipe_lpips()(*masked(d)).mean(),
    "lpips_full_per_image": lambda d: recipe_lpips()(d["image_est"], d["image"]),
    "metric_psnr": lambda d: psnr(d["image_est"], d["image"]),
    "metric_psnr_mask": lambda d: psnr(d["image_est"], d["image"], d["mask"]),
    "metric_ssim": lambda d: ssim_zero_padded(d["image_est"], d["image"]),
    "metric_ssim_mask": lambda d: ssim_zero_padded(d["image_est"], d["image"], d["mask"]),
    "metric_lpips_mask": lambda d: lpips_distance(d["image_est"], d["image"], recipe_lpips(), d["mask"]),
    "metric_lpips": lambda d: lpips_distance(d["image_est"], d["image"], recipe_lpips()),
}


def thresholds(path):
    return about(path)["depth_acc_thresholds"]


def named(chosen):
    """The arrays of every file for which ``chosen(path, name)`` holds."""
    return [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path in FILES
        for name in load_npz(path)
        if chosen(path, name)
    ]


@cases("path", FILES)
def test_arrays_are_known(path):
    assert set(load_npz(path)) - INPUTS - TOTAL - set(VALUES) - NOT_USED - set(thresholds(path)) == set()


@cases("path, name", named(lambda path, name: name in VALUES))
def test_value(path, name):
    data = tensors(path)
    np.testing.assert_allclose(VALUES[name](data), data[name], rtol=0, atol=TOLERANCE)


@cases("path", FILES)
def test_total_and_gradient(path):
    data, lpips = tensors(path), recipe_lpips()
    estimate = data["image_est"].requires_grad_()
    view = Rendered(estimate, data["depth_est"], data["mask"], data["mask"])
    weights = LossWeights(*data["total_weights_rgb_ssim_lpips"].tolist())
    found = view_losses([view], scale_targets(data["image"], [data["mask"]], lpips), weights, lpips=lpips)
    np.testing.assert_allclose(found.total.detach(), data["total_2l1_ssim_lpips"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(sum(found.terms.values()).detach(), found.total.detach(), rtol=1e-6)
    (gradient,) = torch.autograd.grad(found.total, estimate)
    expected = data["grad_image_est"]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=GRADIENT * float(expected.abs().max()))
