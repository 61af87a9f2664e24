"""Method configurations: YAML with ``base:``, checked against the method's dataclass.

Precedence: the dataclass' defaults < ``base`` files < the file < options. Mappings merge, everything else replaces.
A file in the method's official format is recognised and translated by the plugin, once: ``ResolvedConfig.official``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.engine.inputs.shipped_configs import shipped_configs
from refbench.files.typed_config import merge, validated
from refbench.files.yaml_file import read_mapping
from refbench.registry.records import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.official import OfficialConfig, OfficialFiles
    from refbench.contracts.scene import Scene
    from refbench.registry.records import MethodRecord

    Key = tuple[str, ...]

OPTION = "--set"


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A checked configuration: the dataclass ``instance`` (None where the method has none) and its JSON ``values``.

    ``source`` is the file, the shipped name or ``defaults``; ``notes`` say what a translation dropped or assumed;
    ``official`` is there where the file is of the method's official format.
    """

    instance: Any
    values: dict[str, Any]
    source: str
    notes: tuple[str, ...] = ()
    official: OfficialRun | None = None


@dataclass(frozen=True, slots=True)
class OfficialRun:
    """An official configuration that was read, with the plugin's readers and writers: asked for its data sets."""

    files: OfficialFiles
    config: OfficialConfig

    def scene_names(self) -> tuple[str, ...]:
        """Return the names of the data sets that the configuration lists; empty where it lists none or only one."""
        return self.files.scene_names(self.config)

    def scene(self, name: str | None = None) -> Scene | None:
        """Return a data set as a scene, by default the first; None where the configuration names none.

        Raises
        ------
        InputError
            As the plugin's reader.
        """
        return self.files.scene_from_config(self.config, name)

    def write_outputs(self, name: str | None, folder: Path) -> list[str]:
        """Write the official files of a result folder; return warnings."""
        return self.files.write_outputs(self.config, name, folder)


def load_config(
    record: MethodRecord,
    source: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
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
    label, official = _read_source(record, source, values, origins)
    notes = () if official is None else official.config.notes
    for name, value in (overrides or {}).items():
        nested = value
        for part in reversed(name.split(".")):
            nested = {part: nested}
        merge(values, nested, OPTION, origins)
    if record.config is None:
        if values:
            raise ConfigError(f"{label}: {record.name} takes no configuration, got the key {next(iter(values))!r}.")
        return ResolvedConfig(None, {}, label, notes, official)
    instance, checked = validated(resolve(record.config), values, origins, label)
    return ResolvedConfig(instance, checked, label, notes, official)


def _read_source(
    record: MethodRecord, source: str | Path | None, values: dict[str, Any], origins: dict[Key, str]
) -> tuple[str, OfficialRun | None]:
    """Merge the file behind ``source`` into ``values``; return its label and the official configuration that it is."""
    shipped = shipped_configs(record)
    if source is None:
        name = next((name for name in (record.name, "default") if name in shipped), None)
        if name is None:
            return "defaults", None
        _merge_file(shipped[name], values, origins, ())
        return name, None
    path = Path(source)
    if path.is_file():
        files = record.official_files()
        if (translated := files.read_config(path)) is not None:
            merge(values, translated.values, str(path), origins)
            return str(path), OfficialRun(files, translated)
        _merge_file(path, values, origins, ())
        return str(path), None
    if str(source) in shipped:
        _merge_file(shipped[str(source)], values, origins, ())
        return str(source), None
    near = difflib.get_close_matches(str(source), shipped, n=1)
    hint = f"did you mean {near[0]}?" if near else f"shipped ones are: {', '.join(shipped) or 'none'}."
    raise MissingFileError(f"There is no configuration file {source} and {record.name} ships none of that name; {hint}")


def _merge_file(path: Path, values: dict[str, Any], origins: dict[Key, str], chain: tuple[Path, ...]) -> None:
    """Merge a YAML file over its ``base``, into ``values``."""
    path = path.resolve()
    if path in chain:
        cycle = " -> ".join(link.name for link in (*chain[chain.index(path) :], path))
        raise ConfigError(f"{path}: the key base leads in a circle ({cycle}); remove one of the links.")
    if chain and not path.is_file():
        raise MissingFileError(f"There is no configuration {path} (the base of {chain[-1]}).")
    content = read_mapping(path, may_be_empty=True)
    base = content.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise ConfigError(f"{path}: base must be the path of a file, got {base!r}.")
        _merge_file(path.parent / base, values, origins, (*chain, path))
    merge(values, content, str(path), origins)
