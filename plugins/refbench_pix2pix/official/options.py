"""The official options file, ``<phase>_opt.txt``: one option a line, in and out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

    from refbench_pix2pix.config import GeneratorConfig, Pix2PixConfig

HEADER = re.compile(r"-+ *Options *-+")
LINE = re.compile(r"\s*(?P<name>\w+):(?:\s+(?P<value>.*?))?\s*(?:\[default: .*\])?\s*")
"""Lenient: an editor may have taken the blanks from the end of a line without a value."""
TRAINING = (
    "n_epochs", "n_epochs_decay", "epoch_count", "batch_size", "lr", "beta1", "lr_policy", "lr_decay_iters", "gan_mode",
    "lambda_L1", "pool_size", "init_type", "init_gain", "no_flip", "save_epoch_freq",
)  # fmt: skip
"""Options that have a counterpart in ``TrainingConfig``; ``beta_MSE`` is dead in the official code."""


def is_options_file(path: Path) -> bool:
    """Return whether a file begins as an official options file does."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return HEADER.fullmatch(file.readline().strip()) is not None
    except OSError:
        return False


def read_options(path: Path) -> dict[str, str]:
    """Return the options of a file as text.

    Raises
    ------
    MissingFileError
        It cannot be read.
    ConfigError
        It is no options file, or a line is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(f"The options {path} cannot be read: {error}.") from error
    if not lines or not HEADER.fullmatch(lines[0].strip()):
        raise ConfigError(f"{path} is no options file: its first line must be the dashed header Options.")
    options = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.strip().startswith("--"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{path}, line {number}: {line.strip()!r} is not of the form name: value.")
        options[match["name"]] = (match["value"] or "").strip()
    return options


def option_values(options: dict[str, str], path: Path) -> dict[str, Any]:
    """Return options as values of ``Pix2PixConfig``: networks, training, the 8-bit values.

    Raises
    ------
    ConfigError
        An option has no valid value, or one that this generator does not know.
    """

    def number(name: str, kind: type) -> Any:  # noqa: ANN401  # int or float
        try:
            return kind(options[name])
        except ValueError:
            raise ConfigError(f"{path}: {name} must be a number, got {options[name]!r}.") from None

    generator: dict[str, Any] = {key: number(key, int) for key in ("input_nc", "output_nc", "ngf") if key in options}
    if "no_dropout" in options:
        generator["no_dropout"] = options["no_dropout"] == "True"
    if options.get("direction", "BtoA") != "BtoA":
        raise ConfigError(f"{path}: direction {options['direction']} feeds the target to the network; it must be BtoA.")
    discriminator: dict[str, Any] = {key: options[key] for key in ("netD", "norm") if key in options}
    discriminator |= {key: number(key, int) for key in ("ndf", "n_layers_D") if key in options}
    floats, texts = ("lr", "beta1", "lambda_L1", "init_gain"), ("lr_policy", "gan_mode", "init_type")
    training: dict[str, Any] = {}
    for key in (key for key in TRAINING if key in options):
        if key == "no_flip":
            training[key] = options[key] == "True"
        else:
            training[key] = options[key] if key in texts else number(key, float if key in floats else int)
    return {
        "generator": generator,
        "discriminator": discriminator,
        "training": training,
        "values": {"path": "8bit", "offset": 0.0, "step": 1.0, "span": "fixed"},
    }


def write_options(path: Path, config: Pix2PixConfig, shape: GeneratorConfig) -> None:
    """Write the options of a training of a generator of that ``shape``, readable by the official code."""
    values = {
        "input_nc": shape.input_nc, "output_nc": shape.output_nc, "ngf": shape.ngf, "no_dropout": shape.no_dropout,
        "netD": config.discriminator.netD, "ndf": config.discriminator.ndf, "norm": config.discriminator.norm,
        "n_layers_D": config.discriminator.n_layers_D, "direction": "BtoA", "model": "pix2pix", "phase": "train",
        **{key: getattr(config.training, key) for key in TRAINING},
    }  # fmt: skip
    lines = ["----------------- Options ---------------"]
    lines += [f"{name:>25}: {value!s:<30}" for name, value in sorted(values.items())]
    with atomic_file(path) as file:
        file.write("\n".join([*lines, "----------------- End -------------------", ""]).encode())
