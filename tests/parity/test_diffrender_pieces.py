"""Parity of alignment, filters, tonemapper, losses and metrics of diffrender with the official functions.

Cases and every parameter come from the golden folder; see ``golden_diffrender``. Losses with a compiled kernel are
compared with it and without it.
"""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
import torch
from golden_diffrender import cases, files, golden_folder, load_npz, manifest

from refbench_diffrender.depth_mode.tonemapper import Tonemapper, load_tonemapper, quotient_index
from refbench_diffrender.losses import fused_loss
from refbench_diffrender.losses.atrous import bilateral_atrous, masked_atrous
from refbench_diffrender.losses.edge_map import BLUR_SIZE, SCALE, EdgeMapTerm, UvEdginess, edge_map
from refbench_diffrender.losses.filters import (
    SIGMA,
    gaussian_blur,
    gaussian_line,
    gradients,
    median_filter,
    normals_of,
)
from refbench_diffrender.losses.losses import normal_loss, smooth_loss
from refbench_diffrender.losses.point_loss import PointTerm
from refbench_diffrender.losses.poisson import PoissonTerm
from refbench_diffrender.outputs.metrics import cloud_accuracy, completion, depth_metrics
from refbench_diffrender.views.alignment import (
    map_alignment,
    quantile_alignment,
    usable_points,
)
from refbench_diffrender.views.depth_image import (
    before_median,
    from_absolute,
    from_relative,
    from_rendered,
    normalised,
    poisson_source,
)
from refbench_diffrender.views.depth_png import depth_codes, normals_of_codes, shares_of_codes
from refbench_diffrender.views.image_sampling import encoded_of, linear_of, resize_image, resize_map, values_at

GOLDEN = golden_folder()
EXACT, GRADIENT = 1e-5, 1e-4
ELSEWHERE = {"04_filters": r"tex_\w+", "10_metrics_io": r"colmap_dense"}
"""Arrays of these kinds that other parity tests compare."""


@pytest.fixture(params=["compiled", "torch"])
def backend(request, monkeypatch):
    """With and without the compiled kernels."""
    if request.param == "torch":
        monkeypatch.setattr(fused_loss, "compiler_present", lambda: False)
    else:
        pytest.importorskip("numba")
    return request.param


def agree(found, golden, share=EXACT):
    """``share`` of the largest golden value, which counts as 1 at least."""
    golden = np.asarray(golden)
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == golden.shape
    np.testing.assert_allclose(found, golden, rtol=0, atol=share * max(1.0, float(np.abs(golden).max())))


def agree_gradient(found, golden):
    """Relative to the largest gradient, however small."""
    np.testing.assert_allclose(found.numpy(), golden, rtol=0, atol=GRADIENT * float(np.abs(golden).max()))


def tensors(path):
    data = load_npz(path)
    return {name: torch.from_numpy(value) for name, value in data.items() if value.dtype.kind in "fiu"}


def numbered(data, stem):
    """The numbers N of the arrays ``stem_N``."""
    return sorted(int(found[1]) for name in data if (found := re.fullmatch(rf"{stem}_(\d+)", name)))


def settings(path):
    return manifest()[path.name]


def beside(path, kind, stem):
    """The file ``stem`` that belongs to a golden file of ``kind``: with its suffix, or the only one."""
    own = path.stem.removeprefix(kind)
    place, dot, ending = stem.partition(".")
    found = GOLDEN / f"{place}{own}{dot}{ending}"
    return found if found.is_file() else GOLDEN / stem


# Scale and alignment -------------------------------------------------------------------------------------------------

ALIGNMENT = files("03_scale_alignment")
CLOUDS = [(path, case) for path in ALIGNMENT for case in numbered(load_npz(path), "pct")]


def points(path, case):
    data = load_npz(path)
    pair = data[f"rel_{case}_f64"], data[f"abs_{case}_f64"]
    return data, usable_points(pair[0][:, 0], pair[1][:, 0], settings(path)["clip"])


@cases("path, case", CLOUDS)
def test_quantiles(path, case):
    data, (relative, depths) = points(path, case)
    how, percentile = str(data[f"align_{case}"]), float(data[f"pct_{case}"])
    alignment, of_depths, of_relative = quantile_alignment(relative, depths, percentile, how)
    found = [alignment.offset, alignment.scale, *of_depths, *alignment.depth(of_relative)]
    agree(found, data[f"out_{case}_f64"])


def initial_codes(path):
    """The raw initial map of the reference view, and its sparse points: (x, y) [N, 2] and depths [N]."""
    given = settings(path)
    folder = GOLDEN / given["folder"]
    frame = json.loads((folder / "transforms.json").read_text())["frames"][given["reference_view"]]["file_path"]
    depth = (folder / frame.replace("color", "depth_marigold")).with_suffix(".png")
    raw = torch.from_numpy(cv2.imread(str(depth), cv2.IMREAD_UNCHANGED).astype(np.float64))
    (cloud,) = [
        other for other in files("02_colmap") if settings(other)["reference_view"] == given["reference_view"]
        and settings(other)["folder"] == given["folder"]
    ]  # fmt: skip
    data = tensors(cloud)
    return raw, data["points2D_11"], -data["v_points3D"][0, :, 2]


@cases("path", [path for path in ALIGNMENT if "pcd_rel" in load_npz(path)])
def test_initial_depth_image(path):
    data, given = load_npz(path), settings(path)
    raw, places, depths = initial_codes(path)
    relative = normalised(raw)
    pairs = values_at(relative, places.double()).numpy(), depths.double().numpy()
    alignment, _, _ = quantile_alignment(*usable_points(*pairs, given["clip"]), 0.001)
    agree([alignment.offset, alignment.scale], data["pcd_offset_scale"])
    aligned = relative, alignment.offset, alignment.scale, given["near_far"], data["pcd_rel"].shape
    agree(before_median(*aligned), data["pcd_rel_before_median"])
    image = from_relative(*aligned, compat=True)
    agree(image.relative, data["pcd_rel"])
    agree(image.absolute, data["pcd_abs"])
    agree(image.valid, data["pcd_valid"], 0)


@cases("path", [path for path in ALIGNMENT if "reg_rel" in load_npz(path)])
def test_poisson_source(path):
    data, unit = load_npz(path), settings(path)["depth_scale"]
    raw, _, _ = initial_codes(path)
    agree(poisson_source(raw, unit), data["reg_rel"])
    image = from_absolute(raw * unit)
    agree([image.offset, image.scale], data["reg_offset_scale"])


@cases("path", [path for path in ALIGNMENT if "dm_abs_f64" in load_npz(path)])
def test_metric_maps(path):
    data = load_npz(path)
    metric = torch.from_numpy(data["dm_abs_f64"])
    alignment = map_alignment(data["dm_rel_f64"], data["dm_abs_f64"])
    agree([alignment.offset, alignment.scale], data["dm_out_f64"])
    image = from_absolute(metric, compat=True)
    agree([image.offset, image.scale], data["abs_offset_scale"])
    given = from_rendered(metric, *settings(path)["os_offset_scale"], compat=True)
    for prefix, found in (("abs", image), ("os", given)):
        agree(found.relative, data[f"{prefix}_rel"])
        agree(found.absolute, data[f"{prefix}_abs"])
        agree(found.valid, data[f"{prefix}_valid"], 0)


# Filters -------------------------------------------------------------------------------------------------------------

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
def test_pictures(path):
    data = tensors(path)
    agree(linear_of(data["img"]), data["srgb_to_rgb"])
    agree(encoded_of(data["img"]), data["rgb_to_srgb"])
    image = data["img"].movedim(-1, 0)[None]
    for name in [name for name in data if name.startswith("resize_")]:
        resize = resize_map if "nearest" in name else resize_image
        agree(resize(image, tuple(data[name].shape[:2]))[0].movedim(0, -1), data[name])


# Tonemapper ----------------------------------------------------------------------------------------------------------

TONES = files("08_tonemapper")


def tones_of(path):
    data = tensors(path)
    tones = Tonemapper(len(data["exposure"]))
    tones.load_state_dict({"exposure": data["exposure"], "response": data["response"]})
    return data, tones


@cases("path", TONES)
def test_tones_of_views(path):
    data, tones = tones_of(path)
    image = data["img"].movedim(1, -1)
    for view in numbered(data, "fwd"):
        agree(tones.photographed(image, view).movedim(-1, 1), data[f"fwd_{view}"])
        agree(tones.linear(image, view).movedim(-1, 1), data[f"inv_{view}"])


@cases("path", TONES)
def test_tones_between_views(path):
    data, tones = tones_of(path)
    of, by = settings(path)["chain"]
    found = tones(data["img"].movedim(1, -1), of, by).movedim(-1, 1)
    agree(found, data[f"chain_{of}_{by}"])
    (found * data["chain_cot"]).sum().backward()
    agree(tones.exposure.grad, data["chain_grad_exposure"])
    agree(tones.response.grad, data["chain_grad_response"])


@cases("path", TONES)
def test_tones_from_files(path):
    data = tensors(path)
    tones = load_tonemapper(*(beside(path, "08_tonemapper", name) for name in ("exposure.txt", "response.txt")))
    for view in numbered(data, "from_files_fwd"):
        found = tones.photographed(data["img"].movedim(1, -1), view)
        agree(found.movedim(-1, 1), data[f"from_files_fwd_{view}"])


@cases("path", TONES)
def test_tones_of_the_wrong_view(path):
    table = load_npz(path)["index_mismatch_n_i_fwd_inv"]
    listed = {(n, i, forward) for n, i, forward, _ in table.tolist()}
    counts = sorted({n for n, _, _ in listed})
    found = {(n, i, quotient_index(n, i)) for n in counts for i in range(n) if quotient_index(n, i) != i}
    assert found == listed
    assert (table[:, 2] == table[:, 3]).all()


# Losses --------------------------------------------------------------------------------------------------------------

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
    certainty = torch.from_numpy(shares_of_codes(codes[1]))[None, None]
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


# Metrics and files ---------------------------------------------------------------------------------------------------

METRICS = files("10_metrics_io")
MAPS = [(path, case) for path in METRICS for case in numbered(load_npz(path), "names")]


@cases("path, case", MAPS)
def test_depth_metrics(path, case):
    data = load_npz(path)
    found = depth_metrics(data[f"opt_{case}"], data[f"ref_{case}"], data[f"mask_{case}"])
    assert list(found) == [str(name) for name in data[f"names_{case}"]]
    golden = data[f"values_{case}_f64"]
    np.testing.assert_allclose(list(found.values()), golden, rtol=EXACT, atol=EXACT)


@cases("path", METRICS)
def test_clouds(path):
    data = load_npz(path)
    clouds = data["cloud_a_f64"], data["cloud_b_f64"]
    agree(completion(*clouds, settings(path)["completion_threshold"]), data["completion_ratio"])
    agree(cloud_accuracy(*clouds), data["accuracy_mean_median_f64"])


@cases("path", METRICS)
def test_depth_codes(path):
    data = load_npz(path)
    found = depth_codes(data["depth_png_in_f64"], compat=True)
    assert found.dtype == data["depth_png_out"].dtype
    np.testing.assert_array_equal(found, data["depth_png_out"])


# Nothing left over ---------------------------------------------------------------------------------------------------

COMPARED = {
    "03_scale_alignment": r"(rel|abs|out)_\d+_f64|(pct|align)_\d+|dm_(rel|abs|out)_f64"
    r"|pcd_(rel|abs|valid|offset_scale|rel_before_median)|reg_(rel|offset_scale)|abs_(rel|offset_scale|valid|abs)"
    r"|os_(rel|abs|valid)",
    "04_filters": r"depth|edge_(map|cot|grad)|edge_map_scale\d+|sobel_kernel_[xy]_\d+|(gauss|blur)_\d+"
    r"|median_\d+_zeros\d|normals(_in)?|img|resize_\w+|srgb_to_rgb|rgb_to_srgb",
    "08_tonemapper": r"img|exposure|response|(fwd|inv|from_files_fwd)_\d+|chain_\d+_\d+|chain_(cot|grad_\w+)"
    r"|index_mismatch_n_i_fwd_inv",
    "09_losses": r"source|target|mask|poisson_(no)?blur(_scale\d+)?(_(weight|gx|gy|sx|sy|grad))?|atrous_weight"
    r"|(masked_)?atrous_\d+|masked_atrous_\d+_grad|depth|edge_map_nhwc|uvs|uv_to_edges(_grad)?|smooth(_grad)?"
    r"|points2D_11|v_points3D|point(_grad|_sampled|_delta\d+)?|pred_normals|normal_mask"
    r"|normal(_grad|_map_decoded)?",
    "10_metrics_io": r"(opt|ref|mask|names)_\d+|values_\d+_f64|cloud_[ab]_f64|completion_ratio"
    r"|accuracy_mean_median_f64|depth_png_(in_f64|out)",
}


UNUSED = {
    "03_scale_alignment": r"lsqr_\d+",
    "08_tonemapper": r"piecewise_\w+",
    "09_losses": r"uv_img|uv_loss|uv_grad_loss(_map)?",
}
"""Of functions that the official program holds but never calls: no user meets them, so they are not remade."""


@cases("kind", [kind for kind in COMPARED if files(kind)])
def test_no_array_is_left_out(kind):
    known = "|".join(filter(None, [COMPARED[kind], ELSEWHERE.get(kind), UNUSED.get(kind)]))
    left = [name for path in files(kind) for name in load_npz(path) if not re.fullmatch(known, name)]
    assert left == []
