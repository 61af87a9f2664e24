"""YAML files with known keys: a misspelt key is an error that names the nearest valid one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

from refbench.contracts.errors import ConfigError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, read safely (no tags, no objects).

    Raises
    ------
    MissingFileError
        There is no such file.
    ConfigError
        It is not YAML, or not a mapping.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    return mapping(str(path), content)


def mapping(where: str, value: object) -> dict[str, Any]:
    """Return ``value`` where it is a mapping with text keys, else raise ``ConfigError``."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where} must be a mapping of names to values, got {type(value).__name__}.")
    return value


def check_keys(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``ConfigError`` for the first key that is not known, naming the nearest one that is."""
    known = list(known)
    for key in given:
        if key not in known:
            lower = {name.lower(): name for name in known}
            near = difflib.get_close_matches(key.lower(), lower, n=1, cutoff=0.5)
            hint = f"did you mean {lower[near[0]]!r}?" if near else f"known are {', '.join(known)}."
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")


def text(where: str, value: object) -> str:
    """Return ``value`` where it is a text, else raise ``ConfigError``."""
    if not isinstance(value, str):
        raise ConfigError(f"{where} must be a text, got {value!r}.")
    return value
