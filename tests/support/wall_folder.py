"""A folder of the official program: a wall with a bump, imaged three times, with every kind of image."""

import json

import numpy as np
import torch

from refbench_diffrender.official.config import read_official
from refbench_diffrender.official.view import config_of, prepared
from refbench_diffrender.views.depth_png import write_depth, write_pixels

ROWS, COLS, FOCAL, NEAR, FAR = 48, 64, 60.0, 0.5, 20.0
BEGIN = {
    "input_dir": ".", "view_name": "f1.png", "lr": 1e-3, "init_lr": 1e-3, "batch": 2, "max_iter": 7,
    "init_max_iter": 2, "cam_resolution": [ROWS, COLS], "cam_near_far": [NEAR, FAR], "cam_use_flip_mat": 1,
    "init_depth_mode": "absolute", "init_depth_dir": "depth", "adaptive_mesh_simplification_ratio": 1.0,
    "depth_image_downsample": 4, "log_interval": 3, "log_hparams": ["lr"], "input_normal_dir": "None",
}  # fmt: skip


def depth_at(col, row):
    """A slanted wall with a bump, metres."""
    x, y = col / COLS - 0.5, row / ROWS - 0.5
    return 4 + x + 0.5 * y - 0.8 * np.exp(-(x**2 + y**2) / 0.05)


def image(number):
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    return np.stack([0.5 + 0.3 * np.sin(col / (3 + k) + number) * np.cos(row / (4 - k)) for k in range(3)], axis=-1)


def write_wall_folder(folder):
    for name in ("color", "depth", "depth_marigold", "normals"):
        (folder / name).mkdir()
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    depth = depth_at(col, row)
    frames = []
    for number in range(3):
        write_pixels(folder / "color" / f"f{number}.png", np.rint(255 * image(number)).astype(np.uint8))
        pose = np.eye(4)
        pose[0, 3] = 0.2 * (number - 1)
        frames.append({"file_path": f"color/f{number}.png", "transform_matrix": pose.tolist()})
    write_depth(folder / "depth" / "f1.png", depth)
    relative = (depth - depth.min()) / np.ptp(depth)
    write_pixels(folder / "depth_marigold" / "f1.png", np.rint(1 + 60000 * relative).astype(np.uint16))
    angle = 2 * np.arctan(COLS / 2 / FOCAL)
    facts = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": COLS / 2, "cy": ROWS / 2, "w": COLS, "h": ROWS}
    content = {**facts, "camera_angle_x": angle, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    configure(folder)


def configure(folder, **changes):
    content = {"base_dir": str(folder), **BEGIN, **changes}
    (folder / "config.json").write_text(json.dumps(content))
    return read_official(folder / "config.json")


def started(folder, *, compat=False, **changes):
    official = configure(folder, **changes)
    torch.manual_seed(0)
    return prepared(official, config_of(official, compat=compat))


def steps(run, stage, number):
    reports = list(run.run(stage, [[0, 2]] * number))
    return [report.total for report in reports], reports[-1].terms


def wall_depth():
    return depth_at(*np.meshgrid(np.arange(COLS), np.arange(ROWS)))


def change_folder(folder, change):
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
