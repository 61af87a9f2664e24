"""Results of older versions of the schema, brought to the current one step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

CURRENT = 2


def _drop_pixels(content: dict[str, Any]) -> dict[str, Any]:
    """1 to 2: ``cost.pixels`` was never filled; the size of a DSM is told by its file."""
    cost = {key: value for key, value in (content.get("cost") or {}).items() if key != "pixels"}
    return {**content, "cost": cost}


STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _drop_pixels}
"""Version -> what brings its content to the next one."""


def migrated(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the content of a ``result.json`` in the current version; ``where`` names it in errors.

    Raises
    ------
    InputError
        It says no version, or that of a newer refbench.
    """
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{where} says no schema_version, so it is no result of refbench.")
    if version > CURRENT:
        raise InputError(
            f"{where} is of schema version {version}, written by a newer refbench; this one reads up to {CURRENT}."
        )
    while version < CURRENT:
        content = {**STEPS[version](content), "schema_version": version + 1}
        version += 1
    return content
