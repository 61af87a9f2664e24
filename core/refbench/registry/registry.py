"""Looking up by name what plugins registered."""

from __future__ import annotations

import difflib
import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from refbench.contracts.errors import UnknownNameError
from refbench.registry.loader import RECORD_TYPES, Options, Plugin, load_plugins, pin_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench.registry.records import (
        AssessorRecord,
        ImporterRecord,
        MethodRecord,
        ReporterRecord,
        RunEvent,
        VerbRecord,
    )


class Named(Protocol):
    """What every record has."""

    @property
    def name(self) -> str:
        """The id, unique among the records of its kind."""


R = TypeVar("R", bound=Named)


class Registry(Generic[R]):
    """The records of one kind by name, in the order of their plugins."""

    def __init__(self, kind: str, plugins: tuple[Plugin, ...]) -> None:
        self._kind = kind
        self._plugins = plugins
        self._records: dict[str, tuple[R, Plugin]] = {
            record.name: (record, plugin) for plugin in plugins for record in plugin.records.get(kind, ())
        }

    def get(self, name: str) -> R:
        """Return the record of that name.

        Raises
        ------
        UnknownNameError
            No loaded plugin registers it; the message names near misses and the plugins that failed to load.
        """
        if name not in self._records:
            raise UnknownNameError(self._unknown(name))
        return self._records[name][0]

    __getitem__ = get

    def plugin_of(self, name: str) -> Plugin:
        """Return the plugin that registered ``name``; raises as ``get`` does."""
        self.get(name)
        return self._records[name][1]

    def names(self) -> tuple[str, ...]:
        """Return all names."""
        return tuple(self._records)

    def __contains__(self, name: object) -> bool:
        """Return whether a loaded plugin registers that name."""
        return name in self._records

    def __iter__(self) -> Iterator[R]:
        """Iterate over the records."""
        return (record for record, _ in self._records.values())

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    def _unknown(self, name: str) -> str:
        singular = self._kind[:-1]
        near = difflib.get_close_matches(name.lower(), self._records, n=3, cutoff=0.5)
        known = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(self._records) or 'none'}."
        broken = ", ".join(f"{plugin.name} ({plugin.reason})" for plugin in self._plugins if plugin.reason)
        hint = f" It may belong to a plugin that failed to load: {broken}." if broken else ""
        return f"There is no {singular} {name!r}; {known}{hint}"


@dataclass(frozen=True, slots=True)
class Registries:
    """One registry per kind of record, and the plugins behind them, broken ones included."""

    methods: Registry[MethodRecord]
    importers: Registry[ImporterRecord]
    assessors: Registry[AssessorRecord]
    reporters: Registry[ReporterRecord]
    verbs: Registry[VerbRecord]
    plugins: tuple[Plugin, ...]

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """The plugins that failed to load."""
        return tuple(plugin for plugin in self.plugins if plugin.reason)

    def notify(self, event: RunEvent) -> None:
        """Tell every observer; an observer that raises is reported by a warning and does not end the run."""
        for plugin in self.plugins:
            if plugin.observe is None:
                continue
            try:
                plugin.observe(event=event)
            except Exception as error:
                message = f"Plugin {plugin.name} ({plugin.origin}) failed on {event.kind}: {error!r}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)


def build_registries(options: Options) -> Registries:
    """Load the plugins that ``options`` ask for; raises ``PluginError`` in strict mode only."""
    plugins = load_plugins(options)
    return Registries(**{kind: Registry(kind, plugins) for kind in RECORD_TYPES}, plugins=plugins)


@functools.cache
def load_registry() -> Registries:
    """Return what the environment's plugins register, loaded once per process (see ``loader`` for the variables)."""
    pin_files()
    return build_registries(Options.from_environment())
