"""Parity of the rasteriser with the independent float64 reference, and of texture lookups with the official code.

The cases of a file are the names before ``_pos``; tolerances are those of the golden folder's README. Every backend
that runs on the CPU is compared.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_diffrender import cases, files, golden_folder, load_npz, manifest

from refbench_diffrender.rasteriser import kernels_antialias, kernels_cover, kernels_shade
from refbench_diffrender.rasteriser.rasteriser import rasteriser
from refbench_diffrender.views.image_sampling import values_at

GOLDENS = "an independent reference, no official code"

GOLDEN = golden_folder()
VALUE, GRADIENT = 1e-4, 1e-3
EQUAL_IDS = {"clip": 0.98}
BACKENDS = ("numba", "torch")
MADE = [path for kind in ("11", "raster") for path in files(kind)]
FILTERS = [path for kind in ("04", "filters") for path in files(kind) if "tex_uv11" in load_npz(path)]


def cases_of(path):
    return [name.removesuffix("_pos") for name in load_npz(path) if name.endswith("_pos") and "_grad_" not in name]


MESHES = [(path, case) for path in MADE for case in cases_of(path)]
SMOOTH = [(path, case) for path, case in MESHES if f"{case}_aa" in load_npz(path)]


def mesh_of(path, case):
    """Positions, triangles, attributes [1, V, C] and size of a case."""
    data = load_npz(path)
    pos, triangles, attributes = (torch.from_numpy(data[f"{case}_{name}"]) for name in ("pos", "tri", "attr"))
    return pos, triangles, attributes[None], tuple(data[f"{case}_resolution"].tolist())


def check(found, wanted, tolerance=VALUE):
    """Compare values; a tolerance counts in units of the largest wanted one, at least 1."""
    np.testing.assert_allclose(
        found.detach().numpy(), wanted, rtol=0, atol=tolerance * max(1.0, float(np.abs(wanted).max()))
    )


def check_gradient(found, wanted):
    """Compare gradients, in units of the largest."""
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=GRADIENT * float(np.abs(wanted).max()))


def backward_kinds(path, case, of):
    """(kind, epsilons) of the stored gradients to positions."""
    data = load_npz(path)
    return [(k, e) for k, e in (("nvdr", True), ("exact", False)) if f"{case}_{k}_{of}_grad_pos" in data]


@pytest.mark.parametrize("backend", BACKENDS)
@cases("mesh", MESHES)
def test_rasterise(mesh, backend):
    pos, triangles, _, shape = mesh_of(*mesh)
    wanted = load_npz(mesh[0])[f"{mesh[1]}_rast"]
    found = rasteriser(backend).rasterise(pos, triangles, shape)
    same = found[..., 3].numpy() == wanted[..., 3]
    assert same.mean() >= EQUAL_IDS.get(mesh[1], 0.995)
    check(found[same], wanted[same])


@cases("mesh", MESHES)
def test_rounding_tells(mesh):
    """Vertices rounded to 1/16 of a far smaller pixel: what the reference without rounding sees."""
    pos, triangles, _, (rows, cols) = mesh_of(*mesh)
    unsnapped = load_npz(mesh[0])[f"{mesh[1]}_ids_unsnapped_b0"]
    finer = 31  # odd: the middle one of the small pixels lies where the pixel's centre is
    fine = rasteriser("numba").rasterise(pos[:1], triangles, (rows * finer, cols * finer))
    found = fine[0, finer // 2 :: finer, finer // 2 :: finer, 3].numpy()
    assert (found == unsnapped).mean() >= EQUAL_IDS.get(mesh[1], 0.995)


@pytest.mark.parametrize("backend", BACKENDS)
@cases("mesh", MESHES)
def test_interpolate(mesh, backend):
    path, case = mesh
    data = load_npz(path)
    for kind, epsilons in backward_kinds(path, case, "interp"):
        pos, triangles, attributes, shape = mesh_of(path, case)
        pos.requires_grad_()
        attributes.requires_grad_()
        draw = rasteriser(backend, epsilons=epsilons)
        rast, found = draw.render(pos, triangles, attributes, shape)
        same = rast[..., 3].detach().numpy() == data[f"{case}_rast"][..., 3]
        check(found[same], data[f"{case}_interp"][same])
        found.backward(torch.from_numpy(data[f"{case}_cot"]))
        check_gradient(pos.grad, data[f"{case}_{kind}_interp_grad_pos"])
        check_gradient(attributes.grad[0], data[f"{case}_interp_grad_attr"])
        apart = draw.interpolate(attributes, torch.from_numpy(data[f"{case}_rast"]), triangles)
        check(apart, data[f"{case}_interp"])


@pytest.mark.parametrize("backend", BACKENDS)
@cases("mesh", [(path, case) for path, case in MESHES if f"{case}_attr_batched" in load_npz(path)])
def test_interpolate_attributes_of_each_view(mesh, backend):
    path, case = mesh
    data = load_npz(path)
    attributes, rast = torch.from_numpy(data[f"{case}_attr_batched"]), torch.from_numpy(data[f"{case}_rast"])
    found = rasteriser(backend).interpolate(attributes, rast, mesh_of(path, case)[1])
    check(found, data[f"{case}_interp_batched"])


@pytest.mark.parametrize("backend", BACKENDS)
@cases("mesh", SMOOTH)
def test_antialias(mesh, backend):
    path, case = mesh
    data = load_npz(path)
    for kind, epsilons in backward_kinds(path, case, "aa"):
        pos, triangles, _, _ = mesh_of(path, case)
        pos.requires_grad_()
        colour = torch.from_numpy(data[f"{case}_interp"]).requires_grad_()
        found = rasteriser(backend, epsilons=epsilons).antialias(
            colour, torch.from_numpy(data[f"{case}_rast"]), pos, triangles
        )
        check(found, data[f"{case}_aa"])
        found.backward(torch.from_numpy(data[f"{case}_cot"]))
        check_gradient(pos.grad, data[f"{case}_{kind}_aa_grad_pos"])
        check_gradient(colour.grad, data[f"{case}_aa_grad_color"])


@pytest.mark.parametrize("backend", BACKENDS)
@cases("path", [path for path in MADE if "tex_uv" in load_npz(path)])
def test_texture(path, backend):
    data = load_npz(path)
    texture, uv = (torch.from_numpy(data[name]).requires_grad_() for name in ("tex", "tex_uv"))
    found = rasteriser(backend).texture(texture, uv)
    check(found, data["tex_out"])
    found.backward(torch.from_numpy(data["tex_cot"]))
    check_gradient(texture.grad, data["tex_grad_tex"])
    check_gradient(uv.grad, data["tex_grad_uv"])


@cases("path", FILTERS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_lookups_at_points(path, mode):
    data = load_npz(path)
    channels, places = torch.from_numpy(data["img"]).unbind(dim=-1), torch.from_numpy(data["tex_uv11"])
    found = torch.stack([values_at(channel, places, mode) for channel in channels], dim=-1)
    check(found, data[f"tex_{mode}"], 1e-5)


@cases("path", [path for path in MADE if path.name in manifest()])
def test_constants_are_the_manifests(path):
    wanted = manifest()[path.name]
    assert pytest.approx(wanted["snap"]) == 1 / kernels_cover.SUBPIXELS
    assert pytest.approx(wanted["area_epsilon"]) == kernels_shade.AREA_EPSILON
    assert pytest.approx(wanted["aa_epsilon_px"]) == kernels_antialias.PIXEL_EPSILON
    assert set(wanted["cases"]) == set(cases_of(path))
