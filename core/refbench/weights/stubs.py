"""Inert stand-ins for what a pickle holds beside data: its objects, and the names of classes and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MODULE_TABLES = ("_parameters", "_buffers", "_modules")


class Stub:
    """Stands for an object that was not rebuilt; it knows what it stands for and holds nothing else.

    Parameters
    ----------
    name
        Module and name of the class.
    """

    def __init__(self, name: str = "object") -> None:
        self.name = name

    def take_state(self, state: object) -> None:
        """Drop the state."""


class ModuleStub(Stub):
    """Stands for an object that may be a network's module: it keeps the module's own three tables and nothing else."""

    def __init__(self, name: str = "object") -> None:
        super().__init__(name)
        self.tables: dict[str, dict[str, Any]] = {}

    def take_state(self, state: object) -> None:
        """Keep parameters, buffers and modules where they are tables."""
        held = state if isinstance(state, dict) else {}
        self.tables = {name: held[name] for name in MODULE_TABLES if isinstance(held.get(name), dict)}


class Name(Stub):
    """Stands for a class or function of which only the name is known; nothing is ever imported for it."""

    def __init__(self, module: str, name: str, is_class: bool) -> None:
        super().__init__(f"{module}.{name}")
        self.key = (module, name)
        self.is_class = is_class


def tables_of(value: object) -> Iterable[Any]:
    """Return the tables that a stub of a module holds; nothing for any other value."""
    return value.tables.values() if isinstance(value, ModuleStub) else ()
