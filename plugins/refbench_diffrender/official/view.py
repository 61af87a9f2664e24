"""The view that an official configuration names, ready to be refined: configuration, alignment, targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench_diffrender.config import DiffrenderConfig, LossConfig
from refbench_diffrender.depth_mode.encoder import read_encoder
from refbench_diffrender.depth_mode.refinement import ViewRefinement
from refbench_diffrender.depth_mode.tonemapper import load_tonemapper
from refbench_diffrender.official.source import checked_depth, read_normals, read_source
from refbench_diffrender.rasteriser.rasteriser import rasteriser
from refbench_diffrender.views.alignment import map_alignment, quantile_alignment, usable_points
from refbench_diffrender.views.depth_image import (
    DepthImage,
    from_absolute,
    from_relative,
    from_rendered,
    normalised,
    poisson_source,
)
from refbench_diffrender.views.gl_cameras import model_view
from refbench_diffrender.views.image_sampling import linear_of, resize_image, resize_map, values_at
from refbench_diffrender.views.view_image import ReferenceNormals, SparsePoints, ViewImage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench_diffrender.depth_mode.encoder import FeatureEncoder
    from refbench_diffrender.official.config import OfficialConfig
    from refbench_diffrender.official.source import OfficialSource
    from refbench_diffrender.views.alignment import Alignment, Quantile

ENCODER = "models/model_255000.pth"
"""Where the official program looks for IBRNet's checkpoint."""
TONES = "exposure.txt", "response.txt"
"""Files of an earlier run beside transforms.json that the tonemapper starts from."""


def config_of(official: OfficialConfig, *, compat: bool = True) -> DiffrenderConfig:
    """Return the configuration that an official one stands for."""
    values = official.values
    first, second = official.steps()
    return DiffrenderConfig(
        steps=second,
        init_steps=first,
        lr=values["lr"],
        init_lr=values["init_lr"],
        batch=values["batch"],
        stride=values["depth_image_downsample"],
        train_mode=values["train_mode"],
        init_train_mode=values["init_train_mode"],
        srgb=values["srgb"],
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
        loss=_losses(values),
    )


def _losses(values: Mapping[str, Any]) -> LossConfig:
    return LossConfig(
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
        normal=values["loss_normal_weight"],
        blur_poisson=values["loss_poisson_blur_window"] > 0,
    )


def prepared(
    official: OfficialConfig,
    config: DiffrenderConfig,
    encoder: FeatureEncoder | None = None,
    source: OfficialSource | None = None,
    device: str = "cpu",
) -> ViewRefinement:
    """Return the refinement of the view that a configuration names.

    ``encoder`` stands in for the checkpoint that the configuration would read, ``source`` for what ``read_source``
    finds. All tensors lie on ``device``.

    Raises
    ------
    InputError
        A missing or broken file; too few points to align the initial depth by.
    """
    source = source or read_source(official, config, np.random.default_rng(0))
    if config.srgb and config.tonemapper and not config.compat:
        raise ConfigError(f"{official.path}: use_tonemapper compares encoded colours and srgb linear light; take one.")
    own, targets = _view_images(source, config, device)
    initial, kept = _initial(source, config)
    initial = replace(initial, relative=initial.relative.to(device), valid=initial.valid.to(device))
    points = None
    if source.seen is not None:
        depths = np.clip(-source.seen.xyz[:, 2], *source.planes)
        places = torch.from_numpy(source.seen.places).float()
        points = SparsePoints(places.to(device), torch.from_numpy(depths).float().to(device))
    normals = read_normals(source, config)
    if normals is not None:
        normals = ReferenceNormals(normals.directions.to(device), normals.certainty.to(device))
    renderer = rasteriser(config.backend, device)
    if encoder is None and config.features is not None and config.loss.feature:
        encoder = read_encoder(Path(config.features))
    run = ViewRefinement(
        own,
        targets,
        source.intrinsics,
        initial,
        kept.to(device),
        points,
        source.planes,
        config,
        renderer,
        None if encoder is None else encoder.to(device),
        normals,
    )
    if config.tonemapper:
        _import_tones(run, source, compat=config.compat)
    return run


def _view_images(source: OfficialSource, config: DiffrenderConfig, device: str) -> tuple[ViewImage, list[ViewImage]]:
    """Return the own view, and all views as they are compared with: linear light under ``srgb``.

    As published, the own view's image on the mesh stays encoded.
    """
    folder = source.folder
    projection = torch.from_numpy(source.intrinsics.projection(*source.planes)).to(device)
    targets = []
    own: ViewImage | None = None
    for place, name in enumerate(folder.names):
        matrix = model_view(folder.camera_to_world[place], flip=bool(source.official.values["cam_use_flip_mat"]))
        colours = torch.from_numpy(folder.image(place)).to(device).permute(2, 0, 1)[None]
        kinds = [linear_of(colours), colours] if config.srgb else [colours]
        images = [resize_image(kind, source.shape)[0].permute(1, 2, 0).contiguous() for kind in kinds]
        views = [ViewImage(name, image, torch.from_numpy(matrix).to(device), projection) for image in images]
        targets.append(views[0])
        if place == source.number:
            own = views[-1] if config.compat else views[0]
    assert own is not None  # its number was found among these names
    return own, targets


def _import_tones(run: ViewRefinement, source: OfficialSource, *, compat: bool) -> None:
    """Start the tonemapper from the files of an earlier run, where both are there."""
    exposure, response = (source.folder.path / name for name in TONES)
    if not (exposure.is_file() and response.is_file()):
        return
    run.tonemapper = load_tonemapper(exposure, response, compat=compat).to(run.device)
    if len(run.tonemapper.exposure) != len(run.targets):
        raise InputError(f"{exposure} holds {len(run.tonemapper.exposure)} exposures for {len(run.targets)} views.")


def _initial(source: OfficialSource, config: DiffrenderConfig) -> tuple[DepthImage, torch.Tensor]:
    """Return the initial depth and the relative depth whose gradients are kept."""
    values, official = source.official.values, source.official
    mode, compat = values["init_depth_mode"], config.compat
    codes = source.codes("init_depth_dir")
    if codes is None:
        raise MissingFileError(f"{official.path}: view {source.name} has no depth map in {values['init_depth_dir']}.")
    raw = torch.from_numpy(codes.astype(np.float64))
    kept = resize_map(poisson_source(raw).float(), source.shape)
    if mode in ("absolute", "offset_scale"):
        depth = resize_map(torch.from_numpy(checked_depth(source, "init_depth_dir")).float(), source.shape)
        if mode == "absolute":
            return from_absolute(depth, compat=compat), kept
        if len(values["init_offset_scale"]) != 2 or values["init_offset_scale"][1] <= 0:
            raise ConfigError(
                f"{official.path}: init_depth_mode offset_scale needs init_offset_scale: [offset, scale] in metres, "
                "the scale positive."
            )
        offset, scale = (float(number) for number in values["init_offset_scale"])
        return from_rendered(depth, offset, scale, compat=compat), kept
    relative = normalised(raw)
    found = _alignment(source, relative)
    return from_relative(relative, found.offset, found.scale, source.planes, source.shape, compat=compat), kept


def _alignment(source: OfficialSource, relative: torch.Tensor) -> Alignment:
    """Return what carries a relative map to the reference map or to the sparse points."""
    values = source.official.values
    if values["init_depth_mode"] == "relative_to_absdm":
        return map_alignment(relative.numpy(), checked_depth(source, "init_ref_depth_dir"))
    if source.seen is None:
        raise ConfigError(f"{source.official.path}: init_depth_mode relative_to_abspcd needs input_colmap_sparse.")
    at = values_at(relative, torch.from_numpy(source.seen.places)).numpy()
    pairs = usable_points(at, -source.seen.xyz[:, 2], source.planes)
    how: Quantile = "max" if values["scale_init_align_for"] == "max" else "median"
    return quantile_alignment(*pairs, values["scale_init_percentile"], how)[0]
