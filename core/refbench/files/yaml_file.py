"""YAML files, read one way: scenes, suites, configurations. A misspelt key is an error that names the nearest one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.files.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_mapping(path: Path, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the mapping in a YAML file; see ``parse_yaml`` for what is refused.

    ``may_be_empty`` takes a file without content for an empty mapping.

    Raises
    ------
    MissingFileError
        There is no such file, or it cannot be read.
    ConfigError
        It is not YAML that ``parse_yaml`` takes, or not a mapping with text keys.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    return mapping(str(path), {} if content is None and may_be_empty else content)


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
