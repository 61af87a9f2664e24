"""Parity of the image filters of diffrender with the official functions.

Cases and every parameter come from the golden folder; see ``golden_diffrender``.
"""

from __future__ import annotations

import re

import torch
from golden_diffrender import cases, files
from golden_diffrender_pieces import EXACT, agree, numbered, settings, tensors

from refbench_diffrender.losses.edge_map import BLUR_SIZE, SCALE, edge_map
from refbench_diffrender.losses.filters import (
    SIGMA,
    gaussian_blur,
    gaussian_line,
    gradients,
    median_filter,
    normals_of,
)
from refbench_diffrender.views.image_sampling import encoded_of, linear_of, resize_image, resize_map

FILTERS = files("04_filters")


@cases("path", FILTERS)
def test_edge_map(path):
    data, given = tensors(path), settings(path)
    assert given["edge_blur_sigma"] == SIGMA
    assert given["edge_scale"] == SCALE
    depth = data["depth"].clone().requires_grad_()
    found = edge_map(depth)
    agree(found[None, None], data["edge_map"])
    (gradient,) = torch.autograd.grad((found.clamp(-1, 1) * data["edge_cot"][0, 0]).sum(), depth)
    agree(gradient, data["edge_grad"], EXACT)
    for name in [name for name in data if re.fullmatch(r"edge_map_scale\d+", name)]:
        scale = given[name.replace("map_", "")]
        agree(edge_map(data["depth"], scale)[None, None], data[name])


@cases("path", FILTERS)
def test_windows(path):
    data = tensors(path)
    for size in numbered(data, "sobel_kernel_x"):
        # The response to one bright pixel is the kernel, turned round.
        bright = torch.zeros(3 * size, 3 * size)
        bright[3 * size // 2, 3 * size // 2] = 1
        part = slice(3 * size // 2 - size // 2, 3 * size // 2 + size // 2 + 1)
        for axis, found in zip("xy", gradients(bright, size), strict=True):
            agree(found[part, part].flip(0, 1), data[f"sobel_kernel_{axis}_{size}"], 0)
    for size in numbered(data, "gauss"):
        agree(gaussian_line(size)[:, None] * gaussian_line(size), data[f"gauss_{size}"])
        agree(gaussian_blur(data["depth"], size), data[f"blur_{size}"])
    assert BLUR_SIZE in numbered(data, "gauss")


@cases("path", FILTERS)
def test_medians(path):
    data = tensors(path)
    names = [found for name in data if (found := re.fullmatch(r"median_(\d+)_zeros(\d)", name))]
    assert names
    for found in names:
        agree(median_filter(data["depth"], int(found[1]), fill_holes=found[2] == "1"), data[found[0]], 0)


@cases("path", FILTERS)
def test_normals(path):
    data = tensors(path)
    agree(normals_of(data["normals_in"], settings(path)["normals_window"]), data["normals"])


@cases("path", FILTERS)
def test_images(path):
    data = tensors(path)
    agree(linear_of(data["img"]), data["srgb_to_rgb"])
    agree(encoded_of(data["img"]), data["rgb_to_srgb"])
    image = data["img"].movedim(-1, 0)[None]
    for name in [name for name in data if name.startswith("resize_")]:
        resize = resize_map if "nearest" in name else resize_image
        agree(resize(image, tuple(data[name].shape[:2]))[0].movedim(0, -1), data[name])
