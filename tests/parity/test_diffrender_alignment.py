"""Parity of scale, alignment and initial depths of diffrender with the official functions.

Cases and every parameter come from the golden folder; see ``golden_diffrender``.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import torch
from golden_diffrender import cases, files, load_npz
from golden_diffrender_pieces import GOLDEN, agree, numbered, settings, tensors

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
from refbench_diffrender.views.image_sampling import values_at

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
