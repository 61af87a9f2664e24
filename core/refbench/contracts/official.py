"""What a plugin offers for the official system's files: configurations, data sets, outputs, weights, scenes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench.contracts.scene import Scene


class NotOfferedError(InputError):
    """The plugin has no such reader or writer."""


@dataclass(frozen=True, slots=True)
class OfficialConfig:
    """An official configuration, read once: every further question is asked with this value.

    ``values`` are nested values of the method's own configuration, ``notes`` sentences on what was dropped or assumed.
    """

    path: Path
    values: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    parsed: Any = field(default=None, compare=False)
    """What the plugin read of the file, for its own use: only its reader knows the type."""


class OfficialFiles(Protocol):
    """Readers and writers of an official system's files; ``MethodRecord.official`` names the class.

    The class is called without arguments. Plugins derive from ``NoOfficialFiles`` and override what they offer.
    """

    import_options: ClassVar[Mapping[str, str]]
    """Name of each option of ``import_weights`` and what it is."""
    export_options: ClassVar[Mapping[str, str]]
    """Name of each option of ``export_scene`` and what it is."""

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Return the translation of an official configuration; None for any other file.

        Raises
        ------
        InputError
            It is one, with an unknown, ill-typed or unsupported key, or names a file that is missing.
        """

    def scene_names(self, config: OfficialConfig) -> tuple[str, ...]:
        """Return the names of the data sets that a configuration lists; empty where it lists none or only one."""

    def scene_from_config(self, config: OfficialConfig, name: str | None = None) -> Scene | None:
        """Return a data set of a configuration as a scene, by default the first; None where it names none.

        Raises
        ------
        InputError
            There is no data set of that name, or its files are missing or broken.
        """

    def write_outputs(self, config: OfficialConfig, name: str | None, folder: Path) -> list[str]:
        """Write the official files of a result ``folder`` of the data set ``name``; return warnings."""

    @classmethod
    def reads_weights(cls) -> bool:
        """Return whether ``import_weights`` does more than refuse."""

    def import_weights(self, source: Path, folder: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Turn an official checkpoint into the weights folder ``folder``; return notes for the user.

        Raises
        ------
        NotOfferedError
            The plugin reads no official weights.
        WeightsError
            The file is damaged, wants to run code, or has another architecture.
        """

    def export_scene(self, scene: Scene, folder: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write a scene to the new ``folder`` as the official code reads it; return notes for the user.

        Raises
        ------
        NotOfferedError
            The plugin writes no official scenes.
        """


class NoOfficialFiles:
    """Base of every ``OfficialFiles``: recognises no configuration, offers nothing."""

    import_options: ClassVar[Mapping[str, str]] = MappingProxyType({})
    export_options: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Recognise no file."""
        del path
        return None

    def scene_names(self, config: OfficialConfig) -> tuple[str, ...]:
        """Return no names."""
        del config
        return ()

    def scene_from_config(self, config: OfficialConfig, name: str | None = None) -> Scene | None:
        """Return no scene."""
        del config, name
        return None

    def write_outputs(self, config: OfficialConfig, name: str | None, folder: Path) -> list[str]:
        """Write nothing."""
        del config, name, folder
        return []

    @classmethod
    def reads_weights(cls) -> bool:
        """Return whether the class overrides ``import_weights``."""
        return cls.import_weights is not NoOfficialFiles.import_weights

    def import_weights(self, source: Path, folder: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse."""
        del source, folder, options
        raise NotOfferedError("no reader of official weights (import weights)")

    def export_scene(self, scene: Scene, folder: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse."""
        del scene, folder, options
        raise NotOfferedError("no writer of official scenes (export scene)")
