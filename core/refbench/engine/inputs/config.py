"""Method configurations: YAML with ``base:``, checked against the method's dataclass.

Precedence: the dataclass' defaults < ``base`` files < the file < options. Mappings merge, everything else replaces.
A file in the method's official format is recognised and translated by the plugin.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.engine.inputs.shipped_configs import shipped_configs
from refbench.files.typed_config import merge, validated
from refbench.files.yaml_text import parse_yaml
from refbench.registry.records import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.registry.records import MethodRecord

    Key = tuple[str, ...]

OPTION = "--set"


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A checked configuration: the dataclass ``instance`` (None where the method has none) and its JSON ``values``.

    ``source`` is the file, the shipped name or ``defaults``; ``notes`` say what a translation dropped or assumed.
    """

    instance: Any
    values: dict[str, Any]
    source: str
    notes: tuple[str, ...] = ()


def load_config(
    record: MethodRecord, source: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> ResolvedConfig:
    """Read, merge and check the configuration of a method.

    Parameters
    ----------
    record
        The method; its ``config`` target names the dataclass, ``configs_in`` the folder of shipped configurations.
    source
        A file, the name of a shipped configuration, or None: then the shipped one that is called like the method,
        else ``default``, else the dataclass' own defaults.
    overrides
        Values of options, nested or with dotted keys (``{"fusion.weight": 2}``); they win over the file.

    Raises
    ------
    MissingFileError
        There is neither such a file nor such a name.
    ConfigError
        Not YAML, a cycle of ``base``, an unknown or ill-typed key: file, key path and nearest valid key are named.
    """
    values: dict[str, Any] = {}
    origins: dict[Key, str] = {}
    label, notes = _read_source(record, source, values, origins)
    for name, value in (overrides or {}).items():
        nested = value
        for part in reversed(name.split(".")):
            nested = {part: nested}
        merge(values, nested, OPTION, origins)
    if record.config is None:
        if values:
            raise ConfigError(f"{label}: {record.name} takes no configuration, got the key {next(iter(values))!r}.")
        return ResolvedConfig(None, {}, label, notes)
    instance, checked = validated(resolve(record.config), values, origins, label)
    return ResolvedConfig(instance, checked, label, notes)


def _read_source(
    record: MethodRecord, source: str | Path | None, values: dict[str, Any], origins: dict[Key, str]
) -> tuple[str, tuple[str, ...]]:
    """Merge the file behind ``source`` into ``values``; return its label and the notes of a translation."""
    shipped = shipped_configs(record)
    if source is None:
        name = next((name for name in (record.name, "default") if name in shipped), None)
        if name is None:
            return "defaults", ()
        _merge_file(shipped[name], values, origins, ())
        return name, ()
    path = Path(source)
    if path.is_file():
        translated = _translated(record, path)
        if translated is not None:
            merge(values, translated["config"], str(path), origins)
            return str(path), tuple(translated.get("notes", ()))
        _merge_file(path, values, origins, ())
        return str(path), ()
    if str(source) in shipped:
        _merge_file(shipped[str(source)], values, origins, ())
        return str(source), ()
    near = difflib.get_close_matches(str(source), shipped, n=1)
    hint = f"did you mean {near[0]}?" if near else f"shipped ones are: {', '.join(shipped) or 'none'}."
    raise MissingFileError(f"There is no configuration file {source} and {record.name} ships none of that name; {hint}")


def _translated(record: MethodRecord, path: Path) -> dict[str, Any] | None:
    """Return the plugin's translation of a file in the official format; None where it does not recognise it."""
    if record.official is None:
        return None
    reader = getattr(importlib.import_module(record.official), "read_config", None)
    answer: dict[str, Any] | None = None if reader is None else reader(path)
    return answer


def _merge_file(path: Path, values: dict[str, Any], origins: dict[Key, str], chain: tuple[Path, ...]) -> None:
    """Merge a YAML file over its ``base``, into ``values``."""
    path = path.resolve()
    if path in chain:
        cycle = " -> ".join(link.name for link in (*chain[chain.index(path) :], path))
        raise ConfigError(f"{path}: the key base leads in a circle ({cycle}); remove one of the links.")
    content = _read_yaml(path, chain)
    base = content.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise ConfigError(f"{path}: base must be the path of a file, got {base!r}.")
        _merge_file(path.parent / base, values, origins, (*chain, path))
    merge(values, content, str(path), origins)


def _read_yaml(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty file is an empty mapping."""
    wanted_by = f" (the base of {chain[-1]})" if chain else ""
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(f"The configuration {path}{wanted_by} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, got a {type(content).__name__}.")
    return content
