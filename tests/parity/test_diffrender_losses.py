"""Parity of the losses of diffrender with the official functions.

Cases and every parameter come from the golden folder; see ``golden_diffrender``. Losses with a compiled kernel are
compared with it and without it.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import torch
from golden_diffrender import cases, files, load_npz
from golden_diffrender_pieces import EXACT, GRADIENT, agree, beside, numbered, settings, tensors

from refbench_diffrender.losses import fused_loss
from refbench_diffrender.losses.atrous import bilateral_atrous, masked_atrous
from refbench_diffrender.losses.edge_map import EdgeMapTerm, UvEdginess, edge_map
from refbench_diffrender.losses.losses import normal_loss, smooth_loss
from refbench_diffrender.losses.point_loss import PointTerm
from refbench_diffrender.losses.poisson import PoissonTerm
from refbench_diffrender.views.depth_png import fractions_of_codes, normals_of_codes


@pytest.fixture(params=["compiled", "torch"])
def backend(request, monkeypatch):
    """With and without the compiled kernels."""
    if request.param == "torch":
        monkeypatch.setattr(fused_loss, "compiler_present", lambda: False)
    else:
        pytest.importorskip("numba")
    return request.param


def agree_gradient(found, golden):
    """Relative to the largest gradient, however small."""
    np.testing.assert_allclose(found.numpy(), golden, rtol=0, atol=GRADIENT * float(np.abs(golden).max()))


LOSSES = files("09_losses")
POISSON = [(path, name[:-7]) for path in LOSSES for name in load_npz(path) if re.fullmatch(r"poisson_\w+_weight", name)]


@cases("path, name", POISSON)
def test_poisson(path, name, backend):
    data, given = tensors(path), settings(path)
    strength = re.search(r"scale\d+$", name)
    scale = given[f"poisson_{strength[0]}" if strength else "poisson_scale"]
    term = PoissonTerm(data["source"], scale=scale, blur="noblur" not in name)
    target = data["target"].clone().requires_grad_()
    loss = term(target, data["mask"])
    loss.backward()
    golden = float(data[name])
    assert float(loss.detach()) == pytest.approx(golden, rel=EXACT)
    agree_gradient(target.grad, load_npz(path)[f"{name}_grad"])
    axes, fields = term.axes(data["mask"]), term.fields(data["target"], data["mask"])
    weights = [axis.weight for axis in axes]
    agree(torch.cat([*weights, torch.zeros_like(weights[0])], dim=1), data[f"{name}_weight"])
    for field, axis, letter in zip(fields, axes, "xy", strict=True):
        agree(field, data[f"{name}_g{letter}"])
        agree(axis.source, data[f"{name}_s{letter}"])


SPACINGS = [(path, spacing) for path in LOSSES for spacing in numbered(load_npz(path), "atrous")]


@cases("path, spacing", SPACINGS)
def test_atrous(path, spacing):
    data = tensors(path)
    image = data["target"].clone().requires_grad_()
    found = masked_atrous(image, data["atrous_weight"], data["mask"], spacing)
    agree(found, data[f"masked_atrous_{spacing}"])
    (found * data["atrous_weight"]).sum().backward()
    agree_gradient(image.grad, load_npz(path)[f"masked_atrous_{spacing}_grad"])
    agree(bilateral_atrous(data["target"], spacing), data[f"atrous_{spacing}"])


@cases("path", LOSSES)
def test_uv_edginess(path):
    data = tensors(path)
    uvs = data["uvs"].clone().requires_grad_()
    loss = UvEdginess(data["edge_map_nhwc"][0, :, :, 0], compat=True)(uvs)
    agree(loss, data["uv_to_edges"])
    loss.backward()
    agree_gradient(uvs.grad, load_npz(path)["uv_to_edges_grad"])


@cases("path", LOSSES)
def test_smoothness_counts_nothing(path):
    data = tensors(path)
    depth = data["depth"].clone().requires_grad_()
    loss = smooth_loss(depth, data["mask"], compat=True)
    loss.backward()
    agree(loss, data["smooth"], 0)
    agree(depth.grad, data["smooth_grad"], 0)


@cases("path", LOSSES)
def test_points(path):
    data, given = tensors(path), settings(path)
    depths = -data["v_points3D"][0, :, 2]
    term = PointTerm(data["points2D_11"], depths, given["huber_delta"])
    depth = data["depth"].clone().requires_grad_()
    loss = term(depth)
    agree(loss, data["point"])
    agree(term.sampled(data["depth"])[:, None], data["point_sampled"])
    loss.backward()
    agree_gradient(depth.grad, load_npz(path)["point_grad"])
    for name in [name for name in data if name.startswith("point_delta")]:
        other = PointTerm(data["points2D_11"], depths, given[name.replace("point", "huber")])
        agree(other(data["depth"]), data[name])


@cases("path", LOSSES)
def test_normals_loss(path):
    data, border = tensors(path), settings(path)["normal_border"]
    codes = [
        cv2.imread(str(beside(path, "09_losses", name)), cv2.IMREAD_UNCHANGED)
        for name in ("normal_16bit.png", "normal_16bit_certainty.png")
    ]
    wanted = torch.from_numpy(normals_of_codes(codes[0][..., ::-1]))[None]
    certainty = torch.from_numpy(fractions_of_codes(codes[1]))[None, None]
    agree(wanted[..., border:-border, border:-border], data["normal_map_decoded"])
    found = data["pred_normals"].clone().requires_grad_()
    loss = normal_loss(found, wanted, certainty, data["normal_mask"])
    agree(loss, data["normal"])
    loss.backward()
    agree_gradient(found.grad, load_npz(path)["normal_grad"])


@cases("path", LOSSES)
def test_edge_term_of_both_backends(path, backend):
    """No golden holds this loss; it must be the edge map's, which one does."""
    data = tensors(path)
    wanted = data["target"]
    depth = data["depth"].clone().requires_grad_()
    loss = EdgeMapTerm(wanted)(depth)
    (found,) = torch.autograd.grad(loss, depth)
    composed = ((edge_map(depth).clamp(-1, 1) - wanted.clamp(-1, 1)) ** 2).mean()
    agree(loss, composed.detach().numpy())
    agree_gradient(found, torch.autograd.grad(composed, depth)[0].numpy())
