"""The view that an official configuration names, ready to be refined: folder, alignment, points, targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.contracts.errors import ConfigError, UnsupportedError
from refbench.scenes.colmap import read_model
from refbench_diffrender.alignment import map_alignment, quantile_alignment, usable_points
from refbench_diffrender.config import DiffrenderConfig, LossConfig
from refbench_diffrender.depth_image import DepthImage, from_absolute, from_relative, normalised, poisson_source
from refbench_diffrender.encoder import read_encoder
from refbench_diffrender.official_cameras import find_view, model_view
from refbench_diffrender.picture import resize_image, resize_map
from refbench_diffrender.point_loss import nearest_values
from refbench_diffrender.rasteriser import rasteriser
from refbench_diffrender.refinement import Photograph, SparsePoints, ViewRefinement
from refbench_diffrender.view_folder import ViewFolder, read_view_folder, seen_points

if TYPE_CHECKING:
    from refbench_diffrender.encoder import FeatureEncoder
    from refbench_diffrender.official_config import OfficialConfig
    from refbench_diffrender.view_folder import SeenPoints

ENCODER = "models/model_255000.pth"
"""Where the official program looks for IBRNet's checkpoint."""
UNUSED = {"srgb": False, "train_mode": "depth_uv", "init_train_mode": "transfer_func_uv"}
"""Keys whose other values are not offered."""


def config_of(official: OfficialConfig, *, compat: bool = True) -> DiffrenderConfig:
    """Return the configuration that an official one stands for.

    Raises
    ------
    UnsupportedError
        A mode or a loss that is not offered.
    """
    values = official.values
    for key, wanted in UNUSED.items():
        if values[key] != wanted:
            raise UnsupportedError(f"{official.path}: {key}: {values[key]!r} is not offered; {wanted!r} is.")
    first, second = official.steps()
    return DiffrenderConfig(
        steps=second,
        init_steps=first,
        lr=values["lr"],
        init_lr=values["init_lr"],
        batch=values["batch"],
        stride=values["depth_image_downsample"],
        neighbours=0,
        near=float(values["cam_near_far"][0]),
        far=float(values["cam_near_far"][1]),
        percentile=values["scale_init_percentile"],
        hidden=tuple(int(width) for width in values["transfer_func_hlayers"]),
        frequencies=tuple(int(number) for number in values["transfer_func_posencs_uv_z"]),  # type: ignore[arg-type]
        activation=values["transfer_func_acti"],
        init_std=values["transfer_func_init_std"],
        tonemapper=values["use_tonemapper"],
        features=ENCODER if values["use_feat_enc"] else None,
        init_ratio=values["init_adaptive_mesh_simplification_ratio"],
        ratio=values["adaptive_mesh_simplification_ratio"],
        compat=compat,
        loss=LossConfig(
            init_colour=values["init_loss_color_weight"],
            colour=values["loss_color_weight"],
            poisson=values["loss_poisson_weight"],
            point=values["loss_point_weight"],
            transfer=values["loss_point_transfer_weight"],
            edge_map=values["loss_edge_map_weight"],
            uv_edginess=values["loss_uv_edginess_weight"],
            feature=values["loss_feat_weight"] if values["use_feat_enc"] else 0.0,
            median=values["loss_median_weight"],
            smooth=values["loss_smooth_weight"],
        ),
    )


def prepared(
    official: OfficialConfig, config: DiffrenderConfig, encoder: FeatureEncoder | None = None
) -> ViewRefinement:
    """Return the refinement of the view that a configuration names.

    ``encoder`` stands in for the checkpoint that the configuration would read.

    Raises
    ------
    InputError
        A missing or broken file; too few points to align the initial depth by.
    """
    values = official.values
    source = official.folder("input_dir")
    if source is None:
        raise ConfigError(f"{official.path}: input_dir must name the folder with transforms.json.")
    folder = read_view_folder(source)
    number = find_view(folder.names, str(values["view_name"]), compat=config.compat)
    rows, cols = (int(side) for side in values["cam_resolution"])
    planes = (float(values["cam_near_far"][0]), float(values["cam_near_far"][1]))
    intrinsics = folder.intrinsics.scaled(cols, rows)
    projection = torch.from_numpy(intrinsics.projection(*planes))
    flip = bool(values["cam_use_flip_mat"])
    views = []
    for place, name in enumerate(folder.names):
        matrix = model_view(folder.camera_to_world[place], flip=flip)
        picture = torch.from_numpy(folder.picture(place)).permute(2, 0, 1)[None]
        image = resize_image(picture, (rows, cols))[0].permute(1, 2, 0).contiguous()
        views.append(Photograph(name, image, torch.from_numpy(matrix), projection))
    seen = _points(official, folder, number, planes[0], flip, config)
    initial, kept = _initial(official, folder, number, seen, planes, (rows, cols), config)
    points = None
    if seen is not None:
        depths = np.clip(-seen.xyz[:, 2], *planes)
        points = SparsePoints(torch.from_numpy(seen.places).float(), torch.from_numpy(depths).float())
    draw = rasteriser(config.backend)
    if encoder is None and config.features is not None and config.loss.feature:
        encoder = read_encoder(Path(config.features))
    return ViewRefinement(views[number], views, intrinsics, initial, kept, points, planes, config, draw, encoder)


def _points(
    official: OfficialConfig, folder: ViewFolder, number: int, near: float, flip: bool, config: DiffrenderConfig
) -> SeenPoints | None:
    sparse = official.folder("input_colmap_sparse")
    if sparse is None:
        return None
    matrix = model_view(folder.camera_to_world[number], flip=flip, turn=False)
    return seen_points(read_model(sparse), folder.names[number], matrix, near, compat=config.compat)


def _initial(
    official: OfficialConfig,
    folder: ViewFolder,
    number: int,
    seen: SeenPoints | None,
    planes: tuple[float, float],
    shape: tuple[int, int],
    config: DiffrenderConfig,
) -> tuple[DepthImage, torch.Tensor]:
    """Return the initial depth and the relative depth whose gradients are kept."""
    values = official.values
    mode, unit = values["init_depth_mode"], float(values["depth_image_depth_scale"])
    codes = folder.codes(number, values["init_depth_dir"])
    if codes is None:
        raise ConfigError(
            f"{official.path}: view {folder.names[number]} has no depth map in {values['init_depth_dir']}."
        )
    raw = torch.from_numpy(codes.astype(np.float64))
    kept = resize_map(poisson_source(raw).float(), shape)
    if mode == "absolute":
        depth = resize_map((raw * unit).float(), shape)
        return from_absolute(depth, compat=config.compat), kept
    relative = normalised(raw)
    if mode == "relative_to_absdm":
        truth = folder.codes(number, values["init_ref_depth_dir"])
        if truth is None:
            raise ConfigError(f"{official.path}: there is no depth map in {values['init_ref_depth_dir']} to align to.")
        found = map_alignment(relative.numpy(), truth.astype(np.float64) * unit)
    elif mode == "relative_to_abspcd":
        if seen is None:
            raise ConfigError(f"{official.path}: init_depth_mode relative_to_abspcd needs input_colmap_sparse.")
        at = nearest_values(relative, torch.from_numpy(seen.places)).numpy()
        pairs = usable_points(at, -seen.xyz[:, 2], planes)
        how = "max" if values["scale_init_align_for"] == "max" else "median"
        found = quantile_alignment(*pairs, values["scale_init_percentile"], how)[0]
    else:
        raise UnsupportedError(f"{official.path}: init_depth_mode {mode} is not offered.")
    state = from_relative(relative, found.offset, found.scale, planes, shape, compat=config.compat)
    return state, kept
