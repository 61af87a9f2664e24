"""The mesh rendered into other views and its photometric gradients against the official functions on the reference."""

import numpy as np
import pytest
import torch
from golden_diffrender import cases, files, golden_folder, load_npz, manifest

from refbench_diffrender.losses.colour_loss import colour_loss
from refbench_diffrender.mesh.mesh_state import MeshState
from refbench_diffrender.official.view_folder import read_view_folder
from refbench_diffrender.rasteriser.rasteriser import rasteriser

GOLDENS = "the official code on an independent rasteriser"

FOLDER = golden_folder()
FRACTION = 0.995


@pytest.fixture(params=["numba", "torch"])
def backend(request):
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


def setting(path):
    arrays, facts = load_npz(path), manifest()[path.name]
    near, far = facts["near_far"]
    fx, fy, cx, cy = (float(value) for value in arrays["intr"])
    rows, cols = arrays["out_mask"].shape[1:3]
    from refbench_diffrender.views.gl_cameras import Intrinsics

    projection = torch.from_numpy(Intrinsics(fx, fy, cx, cy, cols, rows).projection(near, far))
    place = torch.from_numpy(arrays["clip_pos"][:, :3].copy())
    triangles = torch.from_numpy(arrays["pos_idx"])
    return arrays, facts, MeshState(place, triangles, projection, near, far, facts["stride"], (rows, cols))


def rendered(arrays, facts, mesh, draw):
    """Everything of the file's views, with gradients to what moves the mesh."""
    factor, offset = (torch.from_numpy(arrays[name].copy()).requires_grad_() for name in ("z_factor", "uv_offset"))
    view = mesh.view(offset=offset, factor=factor)
    folder = read_view_folder(FOLDER / facts["folder"])
    image = torch.from_numpy(folder.image(facts["reference_view"]))
    edges = torch.from_numpy(load_npz(FOLDER / facts["edge_map_of"])["edge_map"][0])
    texture = torch.cat([image, edges], dim=-1)[None].contiguous()
    own = torch.linalg.inv(torch.from_numpy(load_npz(FOLDER / facts["edge_map_of"])["mv"]).double()).float()
    world = view @ own.T
    matrices = torch.from_numpy(arrays["mvp"])
    clip = torch.stack([world @ matrix.T for matrix in matrices])
    there = torch.stack([world @ torch.from_numpy(matrix).T for matrix in arrays["mv"]])
    uv = mesh.uv(offset)[None].expand(len(clip), -1, -1)
    world = world[None].expand(len(clip), -1, -1)
    attributes = torch.cat([uv, -there[..., 2:3], world, there], dim=-1).contiguous()
    rast, found, looked = draw.shade(clip, mesh.triangles, attributes, texture, mesh.shape, masked=3)
    mask = (rast[..., 3:] > 0).float()
    colour = draw.antialias(looked, rast, clip, mesh.triangles, draw.topology(mesh.triangles), channels=3)
    return factor, offset, rast, mask, colour[..., :3], colour[..., 3:].clamp(0, 1), found, view


@cases("path", files("12"))
def test_what_other_views_see(path, backend):
    arrays, facts, mesh = setting(path)
    _, _, rast, mask, colour, edges, found, view = rendered(arrays, facts, mesh, rasteriser(backend))
    ids, expected = rast[..., 3].detach().numpy(), arrays["out_rast_out"][..., 3]
    same = ids == expected
    assert same.mean() >= FRACTION
    np.testing.assert_array_equal(mask[..., 0].numpy()[same], arrays["out_mask"][..., 0][same])
    seen = same & (expected > 0)
    parts = {
        "out_rast_out": rast,
        "out_color": colour,
        "out_uv": found[..., :2],
        "out_wpos": found[..., 3:7],
        "out_vpos": found[..., 7:11],
    }
    for name, values in parts.items():
        where = same if name == "out_color" else seen
        np.testing.assert_allclose(values.detach().numpy()[where], arrays[name][where], rtol=0, atol=2e-3)
    np.testing.assert_allclose(found[..., 2].detach().numpy()[seen], arrays["out_depth"][seen], atol=1e-3)
    np.testing.assert_allclose(edges[..., 0].detach().numpy()[same], arrays["out_edge_map"][..., 0][same], atol=1e-3)
    for place in range(len(arrays["views"])):
        reference = arrays[f"embree_depth_{place}"]
        both = (reference > 0) & np.isfinite(reference) & (expected[place] > 0)
        assert np.median(np.abs(found[place, ..., 2].detach().numpy() - reference)[both]) < 1e-4
    check_own_view(arrays, facts, mesh, view, backend)


def check_own_view(arrays, facts, mesh, view, backend):
    clip = (view @ mesh.projection.float().T)[None]
    rast, depth = rasteriser(backend).render(clip, mesh.triangles, -view[None, :, 2:3].contiguous(), mesh.shape)
    same = (rast[0, ..., 3] == torch.from_numpy(arrays["self_rast"][0, ..., 3])).numpy()
    assert same.mean() >= FRACTION
    np.testing.assert_allclose(depth[0, ..., 0].detach().numpy()[same], arrays["self_depth"][same], atol=1e-3)
    file, _, name = facts["offset_scale_of"].partition(":")
    offset, scale = load_npz(FOLDER / file)[name].ravel()[:2]
    from refbench_diffrender.views.depth_image import from_rendered

    state = from_rendered(depth[0, ..., 0].detach(), float(offset), float(scale), compat=True)
    for key, values in (("self_rel", state.relative), ("self_valid", state.valid), ("self_abs", state.absolute)):
        np.testing.assert_allclose(values.numpy()[same], arrays[key][same], atol=1e-3)


@pytest.mark.parametrize("kind", ["nvdr", "exact"])
@cases("path", files("12"))
def test_gradients_of_the_images(path, kind, backend):
    arrays, facts, mesh = setting(path)
    draw = rasteriser(backend, epsilons=kind == "nvdr")
    factor, offset, _, mask, colour, edges, _, _ = rendered(arrays, facts, mesh, draw)
    loss = facts["colour_weight"] * colour_loss(
        colour, torch.from_numpy(arrays["target_img"]), mask, edges, compat=True
    )
    np.testing.assert_allclose(float(loss.detach()), float(arrays["color_loss"]), rtol=1e-3)
    loss.backward()
    for name, parameter in (("z_factor", factor), ("uv_offset", offset)):
        expected = arrays[f"{kind}_color_grad_{name}"]
        np.testing.assert_allclose(parameter.grad, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["nvdr", "exact"])
@cases("path", files("12"))
def test_gradients_of_depths(path, kind, backend):
    arrays, facts, mesh = setting(path)
    factor, offset, *_, found, _ = rendered(arrays, facts, mesh, rasteriser(backend, epsilons=kind == "nvdr"))
    (found[..., 2] * torch.from_numpy(arrays["depth_cot"])).sum().backward()
    for name, parameter in (("z_factor", factor), ("uv_offset", offset)):
        expected = arrays[f"{kind}_depth_grad_{name}"]
        np.testing.assert_allclose(parameter.grad, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
