"""Parity of metrics and files of diffrender with the official functions; no array is left out.

Cases and every parameter come from the golden folder; see ``golden_diffrender``.
"""

from __future__ import annotations

import re

import numpy as np
from golden_diffrender import cases, files, load_npz
from golden_diffrender_pieces import EXACT, agree, numbered, settings

from refbench_diffrender.outputs.metrics import cloud_accuracy, completion, depth_metrics
from refbench_diffrender.views.depth_png import depth_codes

ELSEWHERE = {"04_filters": r"tex_\w+", "10_metrics_io": r"colmap_dense"}
"""Arrays of these kinds that other parity tests compare."""
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
