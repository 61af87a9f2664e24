"""Cameras, sparse points, meshes, the transfer function and the encoder against the official functions."""

import json

import numpy as np
import pytest
import torch
from golden_diffrender import cases, files, fill, golden_folder, load_npz, manifest

from refbench.contracts.errors import InputError
from refbench.geometry.cameras import rotation_of
from refbench.scenes.importers.colmap_dense import read_dense
from refbench.scenes.importers.colmap_model import read_model
from refbench_diffrender.depth_mode.encoder import FeatureEncoder, read_encoder
from refbench_diffrender.depth_mode.transfer_mlp import TransferFunction, encoding
from refbench_diffrender.mesh.grid_mesh import grid_points, grid_triangles, inside
from refbench_diffrender.mesh.mesh_state import MeshState
from refbench_diffrender.official.view_folder import read_view_folder, seen_points
from refbench_diffrender.views.gl_cameras import Intrinsics, model_view
from refbench_diffrender.views.image_sampling import linear_of, resize_image

FOLDER = golden_folder()
TOLERANCE = 1e-5


def about(path):
    return manifest().get(path.name, {})


def close(found, expected, tolerance=TOLERANCE):
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


def numbered(arrays, prefix):
    return sorted(int(name.removeprefix(prefix)) for name in arrays if name.removeprefix(prefix).isdigit())


@cases("path", files("01"))
def test_cameras(path):
    arrays, facts = load_npz(path), about(path)
    near, far = facts["near_far"]
    for i in numbered(arrays, "proj_in_"):
        fx, fy, cx, cy, n, f, w, h = (float(value) for value in arrays[f"proj_in_{i}"])
        given = Intrinsics(fx, fy, cx, cy, int(w), int(h))
        close(given.projection(n, f), arrays[f"proj_{i}"])
        scaled = given.scaled(*(int(side) for side in arrays[f"scale_in_{i}"]))
        found = [scaled.fx, scaled.fy, scaled.cx, scaled.cy, scaled.width, scaled.height]
        expected = arrays[f"scale_{i}"]
        close([*found, scaled.height / h, scaled.width / w], expected)
        pose = np.linalg.inv(arrays[f"w2c_{i}"].astype(np.float64))
        for flip in (0, 1):
            for turn in (0, 1):
                found = model_view(pose, flip=bool(flip), turn=bool(turn))
                close(found, arrays[f"w2c_{i}_flip{flip}_rot{turn}"])
    folder = read_view_folder(FOLDER / facts["folder"])
    projection = folder.intrinsics.projection(near, far)
    views = np.stack([model_view(pose, flip=bool(facts["flip"])) for pose in folder.camera_to_world])
    close(views, arrays["frames_mv"])
    close(projection @ views, arrays["frames_mvp"])
    close(np.broadcast_to(projection, views.shape), arrays["frames_p"])
    close(np.linalg.inv(views)[:, :3, 3], arrays["frames_campos"])
    close(folder.image(0), arrays["frame0_img"][0])
    reference = facts["reference_view"]
    close(folder.camera_to_world[reference], arrays["view0_C2W"])
    close(np.linalg.inv(folder.camera_to_world[reference]), arrays["view0_W2C"])
    rows, cols = (int(side) for side in arrays["resized_srgb_res"])
    frame = facts["resized_srgb_frame"]
    small = folder.intrinsics.scaled(cols, rows)
    close(small.projection(near, far) @ views[frame], arrays["resized_srgb_frame1_mvp"][0])
    linear = linear_of(torch.from_numpy(folder.image(frame))).permute(2, 0, 1)[None]
    close(resize_image(linear, (rows, cols))[0].permute(1, 2, 0), arrays["resized_srgb_frame1_img"][0])
    close(arrays["frame_scale"], [folder.image(0).shape[0] / folder.intrinsics.height] * 2)


@cases("path", files("02"))
def test_sparse_points(path):
    arrays, facts = load_npz(path), about(path)
    folder = read_view_folder(FOLDER / facts["folder"])
    model = read_model(FOLDER / facts["folder"] / "sparse")
    number = facts["reference_view"]
    pose = model_view(folder.camera_to_world[number], flip=bool(facts["flip"]), turn=False)
    for compat in (True, False):
        seen = seen_points(model, folder.names[number], pose, facts["near_far"][0], compat=compat)
        close(seen.xyz, arrays["v_points3D"][0])
        close(seen.places, arrays["points2D_11"])
        np.testing.assert_allclose(seen.rgb, arrays["col3D"])
    for number, image in model.images.items():
        close(rotation_of(image.qvec), arrays[f"img{number}_R_f64"])
        close(image.tvec, arrays[f"img{number}_T_f64"])
    assert [image.name for image in model.images.values()] == list(arrays["image_names"])
    camera = next(iter(model.cameras.values()))
    close([*camera.params, camera.width, camera.height], arrays["camera_f64"])
    for q, R in zip(arrays["quat_wxyz_f64"], arrays["quat_R_f64"], strict=True):
        close(rotation_of(q), R)


@cases("path", files("05"))
def test_meshes(path):
    arrays, facts = load_npz(path), about(path)
    near, far = facts["near_far"]
    for name in arrays:
        if not name.startswith("points_ds"):
            continue
        stride = int(name.removeprefix("points_ds"))
        rows, cols = (side // stride for side in arrays["depth"].shape)
        points = grid_points(arrays["depth"], tuple(arrays["intrinsics_f64"]), stride)
        known = np.isfinite(arrays[name])
        np.testing.assert_array_equal(np.isfinite(points), known)
        np.testing.assert_allclose(points[known], arrays[name][known], rtol=1e-5, atol=1e-5)
        valid = inside(arrays[name], near, far)
        for kind, alternating in (("fixed_diag", False), ("alternating", True)):
            found = grid_triangles(rows, cols, alternating=alternating, valid=valid)
            np.testing.assert_array_equal(found, arrays[f"tri_{kind}_ds{stride}"])
    check_positions(arrays, facts)


def check_positions(arrays, facts):
    tensor = torch.from_numpy
    near, far = facts["near_far"]
    shape = arrays["edge_map"].shape[1:3]
    place = tensor(arrays["clip_pos"][:, :3].copy())
    mesh = MeshState(place, tensor(arrays["pos_idx"]), tensor(arrays["proj"]), near, far, facts["stride"], shape)
    close(mesh.uv(), arrays["uv"])
    factor, offset = (tensor(arrays[name].copy()).requires_grad_() for name in ("z_factor", "uv_offset"))
    view = mesh.view(offset=offset, factor=factor)
    close(view.detach(), arrays["vpos_depth_uv"])
    close(mesh.uv(offset).detach(), arrays["uv_depth_uv"])
    world = torch.linalg.inv(tensor(arrays["mv"]).double()).float()
    close((view @ world.T).detach(), arrays["wpos_depth_uv"])
    (view * tensor(arrays["vpos_cot"])).sum().backward()
    close(factor.grad, arrays["grad_z_factor"], 1e-4)
    close(offset.grad, arrays["grad_uv_offset"], 1e-4)
    transfer = fill(TransferFunction(compat=True))
    moved = mesh.view(offset=offset, transfer=transfer).detach()
    close(moved, arrays["vpos_transfer_func_uv"])
    close(mesh.baked(moved).position, arrays["baked_clip_pos"][:, :3])
    scale = torch.tensor(facts["vpos_scale_offset_scale"], requires_grad=True)
    close(mesh.view(scale=tuple(facts["vpos_scale_offset_scale"])), arrays["vpos_scale"])
    close(mesh.view(scale=scale).detach(), arrays["vpos_scale"])
    mesh.view(scale=scale)[:, 2].sum().backward()
    assert (scale.grad < 0).all()  # z is minus the depth, which both numbers enlarge


@cases("path", files("06"))
def test_the_transfer_function(path):
    arrays, facts = load_npz(path), about(path)
    for name, variant in facts["variants"].items():
        frequencies = tuple(variant["posencs"])
        net = fill(TransferFunction(variant["hidden"], frequencies, variant["act"], compat=True))
        uv, z = (torch.from_numpy(arrays[key].copy()).requires_grad_() for key in ("uv", "z"))
        close(encoding(uv, z.abs(), frequencies).detach(), arrays[f"{name}_encoding"])
        found = net.depth(uv, z)
        close(found.detach(), arrays[f"{name}_out"])
        found.sum().backward()
        close(uv.grad, arrays[f"{name}_grad_uv"])
        close(z.grad, arrays[f"{name}_grad_z"])
        shapes = [f"{key}:{'x'.join(map(str, value.shape))}" for key, value in net.state_dict().items()]
        assert shapes == list(arrays[f"{name}_keys"])
    torch.manual_seed(int(arrays["init_seed"]))
    for key, value in TransferFunction(init_std=facts["init_std"], compat=True).state_dict().items():
        close(value, arrays[f"init_{key}"])


def test_a_function_that_has_learnt_nothing_changes_nothing():
    z = torch.linspace(1, 50, 20)[:, None]
    assert torch.equal(TransferFunction(span=(1.0, 50.0)).depth(torch.rand(20, 2), z), z)


def pixels(x):
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def same(features, arrays, names):
    for found, name in zip(features, names, strict=True):
        close(found.permute(0, 2, 3, 1), arrays[name], 1e-4)


@cases("path", files("07"))
def test_the_feature_encoder(path):
    arrays = load_npz(path)
    net = fill(FeatureEncoder())
    for i in numbered(arrays, "x_"):
        same(net(pixels(arrays[f"x_{i}"])), arrays, (f"coarse_{i}", f"fine_{i}"))
    coarse, fine = arrays["alt_coarse"].shape[-1], arrays["alt_fine"].shape[-1]
    same(fill(FeatureEncoder(coarse, fine))(pixels(arrays["alt_x"])), arrays, ("alt_coarse", "alt_fine"))
    checkpoint = next(FOLDER.glob("ibrnet_checkpoint*.pth"))
    same(read_encoder(checkpoint)(pixels(arrays["x_0"])), arrays, ("ckpt_coarse_0", "ckpt_fine_0"))


@cases("path", sorted(FOLDER.glob("ibrnet_*keys*.json")))
def test_the_encoder_has_the_official_keys(path):
    expected = json.loads(path.read_text())
    found = {key: list(value.shape) for key, value in FeatureEncoder().state_dict().items()}
    assert found == {key: list(shape) for key, shape in expected.items()}


@cases("path", [path for path in files("10") if "colmap_dense" in load_npz(path)])
def test_dense_maps_of_colmap(path, tmp_path):
    source = next(FOLDER.glob("colmap_dense*.bin"))
    np.testing.assert_array_equal(read_dense(source), load_npz(path)["colmap_dense"])
    (tmp_path / "short.bin").write_bytes(source.read_bytes()[:-4])
    with pytest.raises(InputError, match="bytes for"):
        read_dense(tmp_path / "short.bin")
    (tmp_path / "other.bin").write_bytes(b"no map")
    with pytest.raises(InputError, match="no dense map"):
        read_dense(tmp_path / "other.bin")
