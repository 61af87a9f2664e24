"""The official program's JSON configuration: every key with its default (spec, section 3)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError

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
}
MARKS = ("input_dir", "view_name")
"""Keys by which such a file is told from others."""
NUMBERS = ("lr", "init_lr")
OFF = ("None", "", None)


@dataclass(frozen=True, slots=True)
class OfficialConfig:
    """``values`` by key, with defaults; ``ignored`` are keys that the program does not know."""

    path: Path
    values: Mapping[str, Any]
    ignored: tuple[str, ...]

    def folder(self, key: str) -> Path | None:
        """Return a source's folder below ``base_dir``; None where it is switched off. Relative to where one runs."""
        value = self.values[key]
        if value in OFF:
            return None
        base = self.values["base_dir"]
        return Path(str(value)) if base in OFF else Path(str(base)) / str(value)

    def steps(self) -> tuple[int, int]:
        """Return the steps of both stages: a stage ends with its share of the iterations or with the list of views."""
        number = self.values["max_iter"] + 1
        listed = math.ceil(number / self.values["batch"])
        first = min(self.values["init_max_iter"] + 1, listed)
        return first, min(listed, number - first)


def is_official(path: Path) -> bool:
    """Return whether a file is such a configuration, by its suffix and keys."""
    if path.suffix != ".json":
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
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
        content = json.loads(path.read_text(encoding="utf-8"))
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
    return OfficialConfig(path, values, tuple(key for key in content if key not in DEFAULTS))


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
        if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
            return value
        wanted = "a list of numbers"
    elif value is None or isinstance(value, str):
        return value
    else:
        wanted = "text"
    raise ConfigError(f"{path}: {key} must be {wanted}, got {value!r}.")
