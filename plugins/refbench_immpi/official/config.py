"""Official text configurations (docs/methods/immpi.md): ``key = value`` lines as ConfigArgParse has them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from refbench.contracts.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Program = Literal["train", "optimize", "video"]
_COMMON: dict[str, Any] = {
    "dataset": "levir_nvs",
    "depth_sample_num": 32,
    "feature_generator_model_type": "resnet18",
    "neighbor_view_num": 20,
}
_TRAINING: dict[str, Any] = {
    "summary_scalars_freq": 1,
    "summary_images_freq": 10,
    "save_ckpt_freq": 1,
    "loss_rgb_weight": 2.0,
    "loss_ssim_weight": 1.0,
}
DEFAULTS: dict[Program, dict[str, Any]] = {
    "train": {
        **_COMMON,
        **_TRAINING,
        "dataset": "whu_mvs",
        "train_dataset_dirpath": "D:\\Datasets\\WHU\\whu_mvs",
        "train_list_filepath": "./datasets/datalist/whuViewSyn/train.txt",
        "validate_dataset_dirpath": "D:\\Datasets\\WHU\\whu_mvs",
        "validate_list_filepath": "./datasets/datalist/whuViewSyn/val.txt",
        "epochs": 500,
        "learning_rate": 1e-4,
        "lr_ds_epoch_idx": "100,200,300,400:2",
        "batch_size": 1,
        "num_workers": 8,
        "loadckpt": None,
        "logdir": "./checkpoints/ASI_training",
        "resume": False,
        "summary_scalars_freq": 10,
        "summary_images_freq": 50,
        "save_ckpt_freq": 50,
        "validate_freq": 10,
        "seed": 28,
        "neighbor_view_num": 19,
    },
    "optimize": {
        **_COMMON,
        **_TRAINING,
        "dataset_dirpath": None,
        "scene_id": "scene_005",
        "sample_id": "000",
        "epochs": 500,
        "learning_rate": 1e-3,
        "lr_ds_epoch_idx": "50,100,200,300,400:2",
        "ckpt_filepath": "./checkpoints/ASI_prior.ckpt",
        "logdir": "./checkpoints/optimization/{}_{}",
        "seed": 23,
        "loss_lpips_weight": 1.0,
    },
    "video": {
        **_COMMON,
        "dataset_dirpath": None,
        "scene_id": "scene_000",
        "sample_id": "000",
        "ckpt_filepath": "./checkpoints/optimization",
        "output": "./output/track_video",
        "track_viewpoint_num": 100,
        "track_filepath": "Track",
    },
}
TEXTS = ("dirpath", "filepath", "_id", "dir", "loadckpt", "output", "idx", "dataset", "_type")
"""Endings of the keys whose values are text."""
MARKS: dict[Program, tuple[str, ...]] = {
    "train": ("train_dataset_dirpath", "train_list_filepath", "validate_dataset_dirpath", "validate_list_filepath"),
    "video": ("track_viewpoint_num", "track_filepath", "output"),
    "optimize": ("scene_id", "sample_id", "ckpt_filepath", "loss_lpips_weight", "lr_ds_epoch_idx"),
}
"""Keys that tell a program, looked for in this order."""
BY_KEYS: tuple[Program, ...] = ("optimize", "train", "video")
"""Programs whose options a file without such a key may hold: the one that runs on a scene first."""


@dataclass(frozen=True, slots=True)
class OfficialConfig:
    """What a file says, with the program's defaults: ``program`` and ``values``; ``given`` are the file's own keys."""

    program: Program
    values: Mapping[str, Any]
    given: frozenset[str]

    def milestones(self) -> tuple[tuple[int, ...], float]:
        """Return the epochs after which the learning rate is divided, and by what.

        Raises
        ------
        ConfigError
            Another form than ``100,200:2``.
        """
        text = str(self.values["lr_ds_epoch_idx"])
        found = re.fullmatch(r"\s*(\d+(?:\s*,\s*\d+)*)\s*:\s*([0-9.]+)\s*", text)
        if not found or float(found[2]) == 0:
            raise ConfigError(f"lr_ds_epoch_idx must read as 100,200:2 (epochs and a divisor), got {text!r}.")
        return tuple(int(epoch) for epoch in found[1].split(",")), float(found[2])


def pairs_of(path: Path) -> dict[str, tuple[int, str]]:
    """Return key -> (line, value) of a file: comments and quotes off, back-slashes as they are.

    Raises
    ------
    ConfigError
        A line that is neither a comment nor ``key = value`` (or ``key: value``, or a bare flag).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text[0] in "#;" or text.startswith(("---", "[")):
            continue
        match = re.fullmatch(r"([^\s:=;#]+)\s*(?:[:=\s]\s*(.*?))?\s*(?:\s[#;].*)?", text)
        if not match:
            raise ConfigError(f"{path}, line {number}: {text!r} is not of the form key = value.")
        value = (match[2] or "true").strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[match[1].lstrip("-")] = (number, value)
    return found


def program_of(keys: Mapping[str, Any]) -> Program | None:
    """Return the program that a file with these keys is for, None for none of them.

    A key that tells it decides; without one the program that knows all of them, written out or by their beginnings.
    """
    marked = (program for program, marks in MARKS.items() if any(mark in keys for mark in marks))
    fitting = (p for p in BY_KEYS if keys and all(_fits(key, DEFAULTS[p]) for key in keys))
    return next(marked, None) or next(fitting, None)


def _fits(key: str, known: Mapping[str, Any]) -> bool:
    """Return whether a key is one of the known options, or the beginning of exactly one."""
    return key in known or sum(name.startswith(key) for name in known) == 1


def read_official(path: Path, program: Program | None = None) -> OfficialConfig:
    """Read a configuration; without ``program`` its keys tell which one it is for.

    Raises
    ------
    ConfigError
        An unknown or ambiguous key (unique beginnings are fine), or a value of another type.
    """
    pairs = pairs_of(path)
    kind = program or program_of(pairs)
    if kind is None:
        raise ConfigError(f"{path} is no configuration of ImMPI's train, optimize or video program.")
    defaults = DEFAULTS[kind]
    values = dict(defaults)
    for key, (line, text) in pairs.items():
        name = _full_name(key, defaults, f"{path}, line {line}")
        values[name] = _typed(name, text, defaults[name], f"{path}, line {line}")
    return OfficialConfig(kind, values, frozenset(_full_name(key, defaults, str(path)) for key in pairs))


def _full_name(key: str, known: Mapping[str, Any], where: str) -> str:
    if key in known:
        return key
    fitting = [name for name in known if name.startswith(key)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{where}: {key} may be {' or '.join(fitting)}; write it out.")
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}."
    raise ConfigError(f"{where}: there is no option {key}; {hint}")


def _typed(name: str, text: str, default: object, where: str) -> Any:  # noqa: ANN401  # by the option
    if isinstance(default, bool):
        lowered = text.lower()
        if lowered not in ("true", "false", "yes", "no", "1", "0"):
            raise ConfigError(f"{where}: {name} is true or false, got {text!r}.")
        return lowered in ("true", "yes", "1")
    if isinstance(default, str) or name.endswith(TEXTS):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ConfigError(f"{where}: {name} must be {kind}, got {text!r}.") from None
