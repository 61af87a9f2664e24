"""Parity of ImMPI's renderer with the official code: images, depths, masks, gradients and what lies between.

Cases and every parameter come from the golden folder; see ``golden_immpi_render``.
"""

import numpy as np
import torch
from golden import cases, folder_of, load_npz
from golden_immpi_render import about, files, planes_of, scene_of, tensors

from refbench_immpi.planes.homography import target_views
from refbench_immpi.planes.render import composited, render

folder_of("immpi")
FILES = files("D_render")
INPUTS = {"mpi_rgb", "mpi_sigma", "depth_min", "depth_max", "T_tgt_ref", "K_ref", "K_tgt", "render_hw"}
RESULTS = {"rgb", "depth", "mask"}
GRADIENTS = {"grad_w_rgb", "grad_w_depth", "grad_mpi_rgb", "grad_mpi_sigma"}
BETWEEN = {"planes", "xyz_tgt", "warped", "valid_mask", "transparency_acc", "weights"}
RGB, DEPTH, MASK_PIXELS = 1e-4, 1e-3, 3
GRADIENT, FRACTION, PLANE = 1e-3, 1e-4, 1e-6


def near(found, expected, fraction=FRACTION):
    """Compare up to a share of the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=fraction * np.abs(expected).max())


@cases("path", FILES)
def test_arrays_are_known(path):
    names = set(load_npz(path))
    assert names - INPUTS - RESULTS - GRADIENTS - BETWEEN == set()
    assert names >= INPUTS | RESULTS
    assert names & GRADIENTS in (set(), GRADIENTS)
    assert names & BETWEEN in (set(), BETWEEN)
    assert about(path)["gradients"] == (names >= GRADIENTS)


@cases("path", FILES)
def test_target_view(path):
    data = tensors(path)
    found = render(data["mpi_rgb"], data["mpi_sigma"], *scene_of(data))
    np.testing.assert_allclose(found.rgb, data["rgb"], rtol=0, atol=RGB)
    np.testing.assert_allclose(found.depth, data["depth"], rtol=0, atol=DEPTH)
    for ours, theirs in zip(found.mask, data["mask"], strict=True):
        assert (ours != theirs).sum() <= MASK_PIXELS


@cases("path", [path for path in FILES if set(load_npz(path)) >= GRADIENTS])
def test_gradients(path):
    data = tensors(path)
    planes = [data[name].requires_grad_() for name in ("mpi_rgb", "mpi_sigma")]
    found = render(*planes, *scene_of(data))
    factor = about(path)["grad_depth_factor"]
    loss = (found.rgb * data["grad_w_rgb"]).sum() + factor * (found.depth * data["grad_w_depth"]).sum()
    for name, gradient in zip(("grad_mpi_rgb", "grad_mpi_sigma"), torch.autograd.grad(loss, planes), strict=True):
        near(gradient, data[name], GRADIENT)


def layers_of(data):
    """Every plane of every item as the renderer streams it."""
    planes, *rest, shape = scene_of(data)
    views = target_views(planes, *rest, tuple(data["mpi_rgb"].shape[3:]), shape, data["mpi_rgb"])
    return [
        list(composited(*pair, view)) for *pair, view in zip(data["mpi_rgb"], data["mpi_sigma"], views, strict=True)
    ]


BETWEEN_FILES = [path for path in FILES if set(load_npz(path)) >= BETWEEN]


@cases("path", BETWEEN_FILES)
def test_planes(path):
    data = tensors(path)
    np.testing.assert_allclose(planes_of(data), data["planes"], rtol=PLANE)


@cases("path", BETWEEN_FILES)
def test_warped_planes(path):
    data = tensors(path)
    for item, warped in zip(layers_of(data), data["warped"], strict=True):
        for plane, expected in zip(item, warped, strict=True):
            colour, density, points = expected.split((3, 1, 3))
            near(plane.rgb, colour)
            near(plane.sigma, torch.where(points[2] < 0, 0, density[0]))
            near(plane.layer.z, points[2])
        steps = warped[1:, 4:] - warped[:-1, 4:]
        for plane, step in zip(item[:-1], steps, strict=True):
            near(plane.layer.distance, step.norm(dim=0))
        assert item[-1].layer.distance == 1000


@cases("path", BETWEEN_FILES)
def test_composition(path):
    data = tensors(path)
    for b, item in enumerate(layers_of(data)):
        for j, plane in enumerate(item):
            near(plane.before, data["transparency_acc"][b, j, 0])
            np.testing.assert_allclose(
                plane.weight, data["weights"][b, j, 0], rtol=0, atol=FRACTION * float(data["weights"].max())
            )
            valid = torch.ones_like(plane.sigma, dtype=torch.bool) if plane.layer.valid is None else plane.layer.valid
            assert (valid != data["valid_mask"][b, j]).sum() <= MASK_PIXELS
