"""A whole configuration in the official spelling: what the official code needs to read, every key written out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from refbench_implicity.config import DatasetConfig, ModelConfig, SurfaceConfig, TrainingConfig, published

if TYPE_CHECKING:
    from refbench_implicity.config import Variant

METHODS = {"0": "conv_onet", "mono": "implicity_onet", "stereo": "implicity_onet"}
LOGGING = {
    "filename": "logging.log",
    "format": "%(asctime)s %(levelname)s %(filename)s: %(message)s",
    "console_level": 20,
    "file_level": 10,
}


def official_values(variant: Variant) -> dict[str, Any]:
    """Return the published configuration of a variant without its files: those of ``dataset`` are the caller's.

    Paths of data, ``training.run_name`` and checkpoints are to be filled in; there is no ``satellite_image``.
    """
    return {
        "dataset": _dataset(),
        "dataloader": {"n_workers": DatasetConfig().n_workers},
        "model": _model(variant),
        "training": {**_training(), "run_name": f"ImpliCity-{variant}"},
        "test": {"threshold": published.threshold, "check_point": None},
        "dsm_generation": _generation(),
        "logging": dict(LOGGING),
    }


def _dataset() -> dict[str, Any]:
    default = DatasetConfig()
    strips = {f"{split}_strip": list(getattr(default, f"{split}_strip")) for split in ("val", "vis", "test")}
    whole = [0.0, 1.0]
    return {
        **{f"{split}_chunks": [0] for split in ("train", "val", "test", "vis")},
        "normalize": {
            "x_range": whole,
            "y_range": [*whole],
            "z_std": published.z_std,
            "z_shift": published.z_shift,
        },
        "patch_size": [published.patch_size] * 2,
        "n_input_points": default.n_input_points,
        "n_query_points": default.n_query_points,
        "subsample_val": default.subsample_val,
        "use_surface": list(default.use_surface or ()),
        "sliding_window": strips,
    }


def _model(variant: Variant) -> dict[str, Any]:
    config = ModelConfig.of_variant(variant)
    points = dataclasses.asdict(config.point_encoder)
    unet = {key: points["unet"][key] for key in ("depth", "merge_mode", "start_filts")}
    same = ("hidden_dim", "feature_dim", "plane_resolution", "scatter_type")
    encoder = {**{key: points[key] for key in same}, "plane_type": ["xy"], "unet": True, "unet_kwargs": unet}
    decoder = dataclasses.asdict(config.decoder)
    decoder.pop("leaky")
    out: dict[str, Any] = {
        "method": METHODS[variant],
        "encoder": "pointnet_local_pool",
        "encoder_kwargs": encoder,
        "decoder": "simple_local_multi_class",
        "decoder_kwargs": decoder,
        "data_dim": 3,
        "multi_label": config.multi_label,
    }
    if config.image_encoder is not None:
        out |= {"encoder2": "hg_filter", "encoder2_kwargs": dataclasses.asdict(config.image_encoder)}
    return out


def _training() -> dict[str, Any]:
    values = dataclasses.asdict(TrainingConfig())
    for ours in ("iterations", "resume_scheduler"):
        values.pop(ours)
    scheduler = values["scheduler"]
    values["scheduler"] = {"type": scheduler.pop("type"), "kwargs": scheduler}
    scheduler.pop("milestones")
    weights = values["loss_weights"]
    weights.pop("balance_building_weight")
    weights["gt"] = list(weights["gt"])
    weights["land"] = {kind: list(pair) for kind, pair in weights["land"].items()}
    return values


def _generation() -> dict[str, Any]:
    surface = SurfaceConfig()
    return {
        "crs_epsg": DatasetConfig().crs_epsg,
        "pixel_size": [published.pixel_size] * 2,
        "h_range": list(surface.h_range),
        "fill_empty": surface.fill_empty,
        "h_resolution_0": surface.h_resolution_0,
        "h_upsampling_steps": surface.h_upsampling_steps,
        "half_blend_percent": list(surface.half_blend),
    }
