"""The official program's JSON configuration: every key with its default (docs/methods/diffrender.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from refbench.contracts.errors import ConfigError, UnsupportedError
from refbench.files.json_text import parse_json
from refbench_diffrender.config import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS: dict[str, Any] = {
    "base_dir": None,
    "input_dir": None,
    "input_colmap_sparse": None,
    "input_normal_dir": None,
    "outdir": None,
    "view_name": None,
    "lr": None,
    "init_lr": None,
    "max_iter": 24000,
    "init_max_iter": 400,
    "batch": 4,
    "train_mode": "depth_uv",
    "init_train_mode": "transfer_func_uv",
    "cam_resolution": [720, 1280],
    "cam_near_far": [0.1, 100.0],
    "cam_use_flip_mat": 0,
    "init_depth_dir": "depth_marigold",
    "init_ref_depth_dir": "depth",
    "init_depth_mode": "relative_to_abspcd",
    "scale_init_align_for": "median",
    "scale_init_percentile": 0.001,
    "depth_image_downsample": 4,
    "depth_image_depth_scale": 0.001,
    "init_adaptive_mesh_simplification_ratio": 1.0,
    "adaptive_mesh_simplification_ratio": 0.5,
    "transfer_func_acti": "relu",
    "transfer_func_hlayers": [16, 16],
    "transfer_func_posencs_uv_z": [3, 5],
    "transfer_func_init_std": 0.1,
    "transfer_func_normalize_z": 1,
    "init_loss_color_weight": 0.0,
    "loss_color_weight": 1.0,
    "loss_poisson_weight": 400.0,
    "loss_poisson_blur_window": 5,
    "loss_point_weight": 0.1,
    "loss_point_transfer_weight": 1.0,
    "loss_edge_map_weight": 0.1,
    "loss_uv_edginess_weight": 0.1,
    "loss_feat_weight": 0.0,
    "loss_median_weight": 0.0,
    "loss_smooth_weight": 0.0,
    "loss_normal_weight": 0.01,
    "use_tonemapper": False,
    "use_feat_enc": False,
    "srgb": False,
    "use_opengl": False,
    "load_mode": "lazy_load",
    "sparse_pcd_from_ref_outlier_ratio": 0.02,
    "sparse_pcd_from_ref_num_points": 5000,
    "sparse_pcd_from_ref_perturb_std": 0.02,
    "log_interval": 10,
    "log_tqdm_interval": 1.0,
    "log_hparams": [],
    "log_optim_anim": 0,
    "pcd_available": True,
    "normal_available": True,
    "ref_dm_available": True,
    "init_offset_scale": [],
}
"""``init_offset_scale``: offset and scale in metres for the mode offset_scale, for which no official key is known."""
MARKS = ("input_dir", "view_name")
"""Keys by which such a file is told from others."""
NUMBERS = ("lr", "init_lr")
AVAILABLE = {
    "input_colmap_sparse": "pcd_available",
    "input_normal_dir": "normal_available",
    "init_ref_depth_dir": "ref_dm_available",
}
"""Keys that switch a source off where no ``base_dir`` is given."""
IDLE = (
    "transfer_func_normalize_z", "use_opengl", "log_tqdm_interval", "log_optim_anim", "scale_init_lr",
    "scale_init_loss_color_weight", "optim_stage_starts", "optim_stage_lr_factor", "depth_image_layers_from_zeros",
)  # fmt: skip
"""Keys that are read and change nothing, here and mostly there."""
MODES = get_args(Mode)
CHOICES = {
    "init_depth_mode": ("relative_to_abspcd", "relative_to_absdm", "absolute", "offset_scale"),
    "scale_init_align_for": ("median", "max"),
    "transfer_func_acti": ("relu", "tanh", "sigmoid"),
    "train_mode": MODES,
    "init_train_mode": MODES,
}
PAIRS = ("cam_resolution", "cam_near_far", "transfer_func_posencs_uv_z")
POSITIVE = ("cam_resolution", "cam_near_far", "transfer_func_hlayers")
TEXTS = ("log_hparams",)
OFF = ("None", "", None)


@dataclass(frozen=True, slots=True)
class OfficialConfig:
    """``values`` by key, with defaults; ``ignored`` are keys that the program does not know."""

    path: Path
    values: Mapping[str, Any]
    ignored: tuple[str, ...]

    def folder(self, key: str) -> Path | None:
        """Return a source's folder below ``base_dir``; None where it is switched off. Relative to where one runs."""
        value, base = self.values[key], self.values["base_dir"]
        if value in OFF or not self.is_available(key):
            return None
        return Path(str(value)) if base in OFF else Path(str(base)) / str(value)

    def is_available(self, key: str) -> bool:
        """Return whether a source is not switched off by its flag, which counts without ``base_dir`` only."""
        flag = AVAILABLE.get(key)
        return flag is None or self.values["base_dir"] not in OFF or bool(self.values[flag])

    def steps(self) -> tuple[int, int]:
        """Return the steps of both stages: a stage ends with its share of the iterations or with the list of views."""
        number = self.values["max_iter"] + 1
        listed = math.ceil(number / self.values["batch"])
        wanted = self.values["init_max_iter"]
        first = min(wanted + 1, listed) if wanted else 0
        return first, min(listed, number - first)


def is_official(path: Path) -> bool:
    """Return whether a file is such a configuration, by its suffix and keys."""
    if path.suffix != ".json":
        return False
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and all(mark in content for mark in MARKS)


def read_official(path: Path) -> OfficialConfig:
    """Read a configuration; keys that the program does not know are accepted, as there.

    Raises
    ------
    ConfigError
        No JSON object, a value of another type, or a learning rate that is missing.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no JSON configuration: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, got a {type(content).__name__}.")
    values = dict(DEFAULTS)
    for key, value in content.items():
        if key in DEFAULTS:
            values[key] = _typed(path, key, value)
    for key in NUMBERS:
        if values[key] is None:
            raise ConfigError(f"{path}: {key} has no default; give a learning rate.")
    _check(path, values)
    return OfficialConfig(path, values, tuple(key for key in content if key not in DEFAULTS and key not in IDLE))


def _check(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse values that no run could use."""
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            raise UnsupportedError(f"{path}: {key} {values[key]!r} is not offered; take one of {', '.join(choices)}.")
    for key in PAIRS:
        if len(values[key]) != 2:
            raise ConfigError(f"{path}: {key} must hold two numbers, got {values[key]}.")
    for key in POSITIVE:
        if min(values[key]) <= 0:
            raise ConfigError(f"{path}: {key} must hold positive numbers, got {values[key]}.")
    if values["cam_near_far"][0] >= values["cam_near_far"][1]:
        raise ConfigError(f"{path}: cam_near_far must hold the near plane before the far one.")
    if not 0 <= values["scale_init_percentile"] < 0.5:
        raise ConfigError(f"{path}: scale_init_percentile must lie in [0, 0.5).")
    for key in ("batch", "depth_image_downsample", "depth_image_depth_scale", "log_interval"):
        if values[key] <= 0:
            raise ConfigError(f"{path}: {key} must be positive, got {values[key]}.")
    if min(values["max_iter"], values["init_max_iter"]) < 0:
        raise ConfigError(f"{path}: max_iter and init_max_iter must not be negative.")


def _typed(path: Path, key: str, value: Any) -> Any:  # noqa: ANN401  # JSON
    default = DEFAULTS[key]
    wanted = "a number" if key in NUMBERS else None
    if isinstance(default, bool):
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
        wanted = "true or false"
    elif isinstance(default, int):
        if isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer():
            return int(value)
        wanted = "a whole number"
    elif isinstance(default, float) or wanted:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        wanted = "a number"
    elif isinstance(default, list):
        kind: Any = str if key in TEXTS else int | float
        if isinstance(value, list) and (value or not default) and all(isinstance(v, kind) for v in value):
            return value
        wanted = "a list of texts" if key in TEXTS else "a list of numbers"
    elif value is None or isinstance(value, str):
        return value
    else:
        wanted = "text"
    raise ConfigError(f"{path}: {key} must be {wanted}, got {value!r}.")
