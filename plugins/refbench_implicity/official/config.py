"""Official configuration files: ``inherit_from``, the merge, and what every key must be.

The files are YAML 1.1, so ``1e-3`` without a dot is text; where a number is due it is taken as one.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.files.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INHERIT = "inherit_from"
DROPPED_SECTIONS = ("logging", "wandb")
"""Sections that steer log files and the experiment tracker only."""
DROPPED_WORDS = ("wandb", "exit_after", "exit-after", "exit_timer")
"""Keys that contain one of these steer the experiment tracker or the exit timer only."""


def read_official(path: Path) -> dict[str, Any]:
    """Return the merged configuration of a file and what it inherits from.

    A parent is looked up in the working directory, then beside the file, then in the folders above it.

    Raises
    ------
    MissingFileError
        The file or a parent does not exist.
    ConfigError
        Not YAML, not a mapping, or a circle of parents.
    """
    return _read(path, ())


def merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``child`` over ``base``: mapping into mapping recurses, anything else replaces."""
    out = dict(base)
    for key, value in child.items():
        present = out.get(key)
        out[key] = merge(present, value) if isinstance(value, dict) and isinstance(present, dict) else value
    return out


def is_official(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML mapping is a configuration of the official system, by its keys."""
    model, dataset = content.get("model"), content.get("dataset")
    return (
        INHERIT in content
        or "dsm_generation" in content
        or "dataloader" in content
        or (isinstance(model, dict) and "method" in model)
        or (isinstance(dataset, dict) and ("normalize" in dataset or "sliding_window" in dataset))
    )


def is_official_file(path: Path) -> bool:
    """Return whether a file is such a configuration, by its suffix and keys; False where it cannot be read."""
    if not path.is_file() or path.suffix not in (".yaml", ".yml"):
        return False
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), yaml_1_1=True)
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return False
    return isinstance(content, dict) and is_official(content)


def locate(name: str, beside: Path) -> Path | None:
    """Return a file or folder that an official file names: from the working directory, else from the folders around.

    Official paths are relative to the working directory; ``beside`` is the configuration that names it.
    """
    folder = beside.resolve().parent
    for base in (Path(), folder, *folder.parents):
        if (found := base / name).exists():
            return found
    return None


def check_official(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Check every key and type of a merged configuration.

    Returns
    -------
    tuple
        The configuration without dropped keys, numbers as numbers; and the names of the dropped keys.

    Raises
    ------
    ConfigError
        An unknown or ill-typed key: the file, the key's path and the nearest valid key are named.
    """
    dropped: list[str] = []
    kept = _checked(content, SCHEMA, (), path, dropped)
    kept.pop(INHERIT, None)
    return kept, tuple(dropped)


def _read(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in chain:
        raise ConfigError(f"{path}: {INHERIT} leads in a circle; remove one of the links.")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), yaml_1_1=True)
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(f"The configuration {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML that can be read safely: {' '.join(str(error).split())}.") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, got a {type(content).__name__}.")
    parent = content.get(INHERIT)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: {INHERIT} must be the path of a file, got {parent!r}.")
    found = locate(parent, path)
    if found is None:
        raise MissingFileError(
            f"{path}: {INHERIT} names {parent}, which lies neither in the working directory nor beside the file."
        )
    return merge(_read(found, (*chain, resolved)), content)


class _Invalid(Exception):
    """A value of the wrong type; the argument says what is due."""


def _number(value: Any) -> float:  # noqa: ANN401  # any YAML value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise _Invalid("a number") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Invalid("a number")
    return value


def _integer(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Invalid("a whole number")
    return value


def _flag(value: Any) -> bool:  # noqa: ANN401
    if not isinstance(value, bool):
        raise _Invalid("True or False")
    return value


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise _Invalid("text")
    return value


def _one_of(*options: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:  # noqa: ANN401
        if value not in options:
            raise _Invalid(f"one of {', '.join(options)}")
        return str(value)

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def optional(value: Any) -> Any:  # noqa: ANN401
        return None if value is None else check(value)

    return optional


def _list(check: Callable[[Any], Any], length: int | None = None) -> Callable[[Any], list[Any]]:
    def listed(value: Any) -> list[Any]:  # noqa: ANN401
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise _Invalid(f"a list of {length}" if length is not None else "a list")
        return [check(item) for item in value]

    return listed


def _images(value: Any) -> list[str]:  # noqa: ANN401
    if not isinstance(value, list) or len(value) not in (1, 2):
        raise _Invalid("a list of 1 or 2 files")
    return [_text(item) for item in value]


_PAIR = _list(_number, 2)
_CHUNKS = _list(_integer)
_PATH = _optional(_text)
SCHEMA: dict[str, Any] = {
    INHERIT: _PATH,
    "dataset": {
        "name": _PATH,
        "path": _text,
        "dsm_gt_path": _PATH,
        "mask_files": {"gt": _PATH, "building": _PATH, "forest": _PATH, "water": _PATH},
        **{f"{split}_chunks": _CHUNKS for split in ("train", "val", "test", "vis")},
        "normalize": {
            "x_range": _PAIR,
            "y_range": _PAIR,
            "z_std": _number,
            "z_shift": _one_of("median", "mean", "20quantile"),
        },
        "patch_size": _PAIR,
        "n_input_points": _optional(_integer),
        "n_query_points": _optional(_integer),
        "subsample_val": _flag,
        "use_surface": _optional(_list(_text)),
        "sliding_window": {f"{split}_strip": _PAIR for split in ("train", "val", "vis", "test")},
        "satellite_image": {
            "folder": _text,
            "pairs": _images,
            "normalize": {"mean": _number, "std": _number},
        },
    },
    "dataloader": {"n_workers": _integer},
    "model": {
        "method": _one_of("conv_onet", "implicity_onet"),
        "encoder": _one_of("pointnet_local_pool"),
        "encoder_kwargs": {
            "hidden_dim": _integer,
            "feature_dim": _integer,
            "n_blocks": _integer,
            "plane_type": _list(_one_of("xy")),
            "plane_resolution": _integer,
            "scatter_type": _one_of("max", "mean"),
            "unet": _flag,
            "unet3d": _flag,
            "unet_kwargs": {
                "depth": _integer,
                "merge_mode": _one_of("concat", "add"),
                "start_filts": _integer,
                "up_mode": _one_of("transpose", "upsample"),
            },
        },
        "encoder2": _optional(_one_of("hg_filter")),
        "encoder2_kwargs": {
            "in_channel": _integer,
            "feature_dim": _integer,
            "num_hourglass": _integer,
            "num_stack": _integer,
            "norm": _one_of("group", "batch"),
            "hg_down": _one_of("ave_pool", "conv64", "conv128"),
        },
        "decoder": _one_of("simple_local_multi_class"),
        "decoder_kwargs": {
            "feature_dim": _integer,
            "sample_mode": _one_of("bilinear", "nearest"),
            "n_blocks": _integer,
            "hidden_size": _integer,
            "leaky": _flag,
            "out_dim": _integer,
        },
        "data_dim": _integer,
        "multi_label": _flag,
    },
    "training": {
        "run_name": _text,
        "out_dir": _text,
        "resume_from": _PATH,
        "resume_scheduler": _flag,
        "augmentation": {"flip": _flag, "rotate": _flag},
        "random_dataset_length": _integer,
        "batch_size": _integer,
        "val_batch_size": _integer,
        "lock_seed": _flag,
        "optimize_every": _integer,
        "learning_rate": _number,
        "scheduler": {
            "type": _one_of("CyclicLR", "MultiStepLR"),
            "kwargs": {
                "base_lr": _number,
                "max_lr": _number,
                "mode": _one_of("triangular", "triangular2", "exp_range"),
                "gamma": _number,
                "step_size_up": _integer,
                "step_size_down": _integer,
                "milestones": _list(_integer),
            },
        },
        "model_selection_metric": _text,
        "model_selection_mode": _one_of("maximize", "minimize"),
        **{f"{what}_every": _integer for what in ("print", "visualize", "validate", "checkpoint", "backup")},
        "loss_weights": {
            "gt": _PAIR,
            "land": {"building": _PAIR, "forest": _PAIR, "water": _PAIR},
            "balance_building_weight": _flag,
        },
    },
    "test": {"threshold": _number, "check_point": _PATH},
    "dsm_generation": {
        "crs_epsg": _integer,
        "pixel_size": _PAIR,
        "h_range": _PAIR,
        "fill_empty": _flag,
        "h_resolution_0": _number,
        "h_upsampling_steps": _integer,
        "half_blend_percent": _PAIR,
    },
}
"""Key -> check, or a mapping of the keys below it."""


def _checked(
    content: Mapping[str, Any], schema: Mapping[str, Any], above: tuple[str, ...], path: Path, dropped: list[str]
) -> dict[str, Any]:
    """Return the valid part of a mapping; note dropped keys."""
    out: dict[str, Any] = {}
    for key, value in content.items():
        here = (*above, str(key))
        dotted = ".".join(here)
        rule = schema.get(key)
        if rule is None:
            if not _steers_the_run_only(here):
                raise ConfigError(f"{path}: unknown key {dotted}; {_nearest(str(key), schema, above)}")
            dropped.append(dotted)
        elif isinstance(rule, dict):
            if value is not None and not isinstance(value, dict):
                raise ConfigError(f"{path}: {dotted} must hold keys and values, got {value!r:.80}.")
            out[key] = _checked(value, rule, here, path, dropped) if value is not None else None
        else:
            out[key] = _valid(value, rule, dotted, path)
    return out


def _valid(value: Any, rule: Callable[[Any], Any], dotted: str, path: Path) -> Any:  # noqa: ANN401
    try:
        return rule(value)
    except _Invalid as error:
        raise ConfigError(f"{path}: {dotted} must be {error}, got {value!r:.80}.") from None


def _steers_the_run_only(key: tuple[str, ...]) -> bool:
    return key[0] in DROPPED_SECTIONS or any(word in key[-1] for word in DROPPED_WORDS)


def _nearest(key: str, schema: Mapping[str, Any], above: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, schema, n=1, cutoff=0.4)
    if near:
        return f"did you mean {'.'.join((*above, near[0]))}?"
    return f"valid keys: {', '.join(schema)}."
