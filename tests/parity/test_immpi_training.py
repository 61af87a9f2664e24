"""ImMPI's trainings and its inference against the official programs."""

import re

import numpy as np
import pytest
import torch
from golden import cases, files_of
from golden_immpi import FOLDER, arrays_of, networks, of_manifest
from golden_immpi_render import recipe_lpips

from refbench_immpi.config import OptimiseConfig, PlanesConfig, TrainingConfig
from refbench_immpi.losses.image_metrics import lpips_distance, psnr, ssim_zero_padded
from refbench_immpi.losses.losses import LossWeights
from refbench_immpi.network.pair import Pair
from refbench_immpi.official.folders import SceneFolder
from refbench_immpi.official.neighbour_orders import whu_neighbours
from refbench_immpi.planes.mpi import MultiplaneImage, Networks, multiplane_image
from refbench_immpi.training.loss_terms import Comparer, plane_depths
from refbench_immpi.training.scene_fit import SceneFit
from refbench_immpi.training.task import PriorTask, Sample
from refbench_immpi.views.posed import Posed

TERMS = ("l1", "ssim", "lpips")


def relative(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=tolerance)


def of_maximum(found, expected, fraction):
    np.testing.assert_allclose(found, expected, rtol=0, atol=fraction * max(np.abs(expected).max(), 1e-12))


def scene_of(path):
    return SceneFolder(FOLDER / of_manifest(path, "folder") / of_manifest(path, "scene"))


def pixel_stride(path, scale):
    base, power = re.fullmatch(r"(\d+)\^\((\d+)-s\)", of_manifest(path, "render_pixel_stride")).groups()
    return int(base) ** (int(power) - scale)


def before_norm(name):
    """Biases before a batch norm have no gradient; what rounding leaves moves them by the learning rate."""
    return name.endswith("conv.conv.bias")


@cases("path", files_of("immpi", "G_optimize"))
@pytest.mark.parametrize("steps", [1, pytest.param(None, marks=pytest.mark.slow, id="all")])
def test_optimisation_of_a_scene(path, steps):
    arrays, folder = arrays_of(path), scene_of(path)
    encoder, generator = networks("resnet18", train=True)
    reference = folder.posed(of_manifest(path, "sample"), reference=True)
    ordered = range(1, len(folder.views()))
    targets = [folder.posed(f"{ordered[int(place)]:03d}") for place in arrays["neighbor_indices"]]
    rgb, ssim, lpips = (float(weight) for weight in arrays["weights_rgb_ssim_lpips"])
    comparer = Comparer(LossWeights(rgb, ssim, lpips), PlanesConfig(int(arrays["ndepth"])), lpips=recipe_lpips())
    epochs = int(arrays["epochs"])
    config = OptimiseConfig(
        steps=epochs * len(targets),
        lr=float(arrays["learning_rate"]),
        milestones=tuple(int(epoch) / epochs for epoch in arrays["lr_milestones"]),
        divisor=float(arrays["lr_divisor"]),
    )
    check_renderings(path, arrays, Networks(encoder, generator), reference, targets[0], comparer)
    encoder, generator = networks("resnet18", train=True)
    fit = SceneFit(Networks(encoder, generator), [(reference, target) for target in targets], comparer, config)
    log = arrays["log_idx_loss_rgb_ssim_lpips_lr"]
    for number, row in enumerate(log[:steps]):
        place, loss, *terms, lr = row
        found = fit.step()
        assert found.target == f"{ordered[int(place)]:03d}"
        tolerance = 1e-4 if number == 0 else 1e-2
        relative(found.total, loss, tolerance)
        relative([found.terms[name] for name in TERMS], terms, tolerance)
        relative(found.lr, lr, 1e-6)
        if number == 0:
            check_gradients(arrays, generator, 3e-3, 1e-3)
            check_parameters(arrays, generator)


def check_renderings(path, arrays, nets, reference, target, comparer):
    """What is seen before the first step, at every scale, in the target and in the reference itself."""
    features = nets.features(torch.from_numpy(reference.image)[None])
    with torch.no_grad():
        mpi = nets.generator(features, comparer.planes.number)
        seen, own = comparer.rendered(mpi, reference, target), comparer.rendered(mpi, reference, reference)
    for scale in range(4):
        stride = pixel_stride(path, scale)
        name = f"s{scale}_step1"
        of_views = {"ref_depth_syn": (own[scale].depth, 0.02), "tgt_rgb_syn": (seen[scale].rgb, 1e-3)}
        for kind, (found, tolerance) in of_views.items():
            np.testing.assert_allclose(found[..., ::stride, ::stride], arrays[f"{kind}_{name}"], atol=tolerance)
        np.testing.assert_allclose(float(seen[scale].mask.mean()), arrays[f"tgt_mask_mean_{name}"], atol=1e-3)


def check_gradients(arrays, net, fraction, norm_fraction, prefix=""):
    parameters = dict(net.named_parameters())
    checked = 0
    for name, expected in arrays.items():
        kind, _, key = name.partition("__")
        if kind not in ("grad1", "gradnorm1") or not key.startswith(prefix):
            continue
        key = key.removeprefix(prefix)
        gradient = parameters[key].grad.detach()
        if kind == "gradnorm1":
            if not before_norm(key):
                relative(float(gradient.norm()), expected, norm_fraction)
        elif not before_norm(key):
            of_maximum(gradient.flatten()[: expected.size].numpy(), expected.ravel(), fraction)
        checked += 1
    assert checked


def check_parameters(arrays, net):
    state = dict(net.named_parameters())
    named = [name for name in arrays if name.startswith("param1__")]
    assert named
    for name in named:
        key = name.removeprefix("param1__")
        if not before_norm(key):
            found = state[key].detach().flatten()[: arrays[name].size].numpy()
            np.testing.assert_allclose(found, arrays[name].ravel(), atol=1e-5)


@cases("path", files_of("immpi", "G_asi"))
def test_steps_of_the_training_over_scenes(path):
    arrays, folder = arrays_of(path), scene_of(path)
    reference = f"{int(arrays[of_manifest(path, 'sample_every_step')]):03d}"
    ordered = whu_neighbours(int(reference), of_manifest(path, "neighbor_view_num"))
    targets = tuple(folder.posed(f"{view:03d}") for view in ordered)
    sample = Sample(folder.posed(reference, reference=True), targets)
    encoder, generator = networks("resnet18", train=True)
    rgb, ssim = (float(weight) for weight in arrays["weights_rgb_ssim"])
    comparer = Comparer(LossWeights(rgb, ssim), PlanesConfig(int(arrays["ndepth"])))
    both = Pair(encoder, generator).train()
    lr = float(arrays["learning_rate"])
    task = PriorTask(both, [sample], comparer, TrainingConfig(lr=lr, milestones=()), steps=len(arrays["losses"]))
    for number, expected in enumerate(arrays["losses"]):
        task.optimizer.zero_grad()
        total, terms = task.compared(sample, int(arrays["neighbor_index"]))
        total.backward()
        found = [float(total.detach()), *(float(terms[name].detach()) for name in TERMS[:2])]
        relative(found, expected, (1e-4, 1e-2, 2e-2)[min(number, 2)])
        if number == 0:
            check_gradients(arrays, encoder, 0.1, 0.03, prefix="feat__")
            check_gradients(arrays, generator, 0.1, 0.03, prefix="mpi__")
        task.optimizer.step()
    both.eval()
    with torch.no_grad():
        total, terms = task.compared(sample, of_manifest(path, "validation_neighbor_position"))
    relative([float(total.detach()), *(float(terms[name].detach()) for name in TERMS[:2])], arrays["validate"], 2e-2)


@cases("path", files_of("immpi", "H"))
def test_inference(path):
    arrays, folder = arrays_of(path), scene_of(path)
    encoder, generator = networks("resnet18", train=of_manifest(path, "train_mode"))
    reference = folder.posed(of_manifest(path, "sample"), reference=True)
    depths = plane_depths(reference, PlanesConfig(int(arrays["ndepth"])))
    nets = Networks(encoder, generator, of_manifest(path, "train_mode"))
    image = multiplane_image(nets, reference, depths, tile=1024, overlap=128)
    ordered = range(1, len(folder.views()))
    stride, float_stride = int(arrays["pixel_stride"]), of_manifest(path, "rgb_float_pixel_stride")
    lpips = recipe_lpips()
    for number, place in enumerate(arrays["view_indices"]):
        target = folder.posed(f"{ordered[int(place)]:03d}")
        view = image.seen_from(target)
        rgb = view.rgb[0].numpy()
        np.testing.assert_allclose(rgb[:, ::float_stride, ::float_stride], arrays["rgb_float"][number], atol=1e-3)
        levels = np.floor(rgb * 255).astype(np.int64).transpose(1, 2, 0)[::stride, ::stride]
        assert np.abs(levels - arrays["image_png_rgb_u8"][number]).max() <= 1
        np.testing.assert_allclose(view.depth[0, 0, ::stride, ::stride], arrays["depth_tiff"][number], atol=0.02)
        mask = (view.mask[0, 0].numpy() * 255).astype(np.uint8)
        assert (mask[::stride, ::stride] != arrays["mask_png_u8"][number]).sum() <= 3
        check_metrics(view, target, arrays["metrics_psnr_psnrm_ssim_ssimm_lpips_lpipsm_cov"][number], lpips)
    check_track(arrays, folder, image)


def check_metrics(view, target, expected, lpips):
    seen_image = torch.from_numpy(target.image)[None]
    found = [psnr(view.rgb, seen_image), psnr(view.rgb, seen_image, view.mask)]
    np.testing.assert_allclose(found, expected[:2], atol=0.01)
    found = [ssim_zero_padded(view.rgb, seen_image), ssim_zero_padded(view.rgb, seen_image, view.mask)]
    found += [lpips_distance(view.rgb, seen_image, lpips), lpips_distance(view.rgb, seen_image, lpips, view.mask)]
    np.testing.assert_allclose([*found, float(view.mask.mean())], expected[2:], atol=1e-3)


def check_track(arrays, folder: SceneFolder, image: MultiplaneImage):
    stride = int(arrays["track_stride"])
    for number, camera in enumerate(folder.track()):
        K, E = camera.K.astype(np.float64), camera.E.astype(np.float64)
        view = image.seen_from(Posed(f"track {number}", image.view.image, K, E, 0.0, 0.0))
        mask = view.mask[0, 0].numpy()
        frame = np.floor(255 * view.rgb[0].numpy() * mask).transpose(1, 2, 0)[..., ::-1].astype(np.int64)
        assert np.abs(frame[::stride, ::stride] - arrays["track_frames_bgr_u8"][number]).max() <= 1
        found = (255 * mask > 100).astype(np.uint8)[::stride, ::stride]
        expected = arrays["track_mask_u8"][number]
        assert ((found > 0) != (expected > 0)).sum() <= 3
