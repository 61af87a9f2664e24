"""What configurations a method has, told from its dataclass and its folder alone: the listing verbs need no more."""

from __future__ import annotations

import dataclasses
import importlib.resources
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench.registry.records import MethodRecord

SHIPPED_PACKAGE = "refbench.configs"


def shipped_configs(record: MethodRecord) -> dict[str, Path]:
    """Return the configurations that travel with the method's package: name -> file.

    ``record.configs_in`` is a folder of the package ``refbench.configs``, or ``"package:folder"``, with or without a
    pattern for the files.
    """
    if record.configs_in is None:
        return {}
    package, _, place = record.configs_in.rpartition(":")
    root = Path(str(importlib.resources.files(package or SHIPPED_PACKAGE)))
    pattern = place if place.endswith(".yaml") else f"{place}/*.yaml"
    return {path.stem: path for path in sorted(root.glob(pattern), key=lambda path: path.stem)}


def config_keys(config: type) -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted key, type, default) of a configuration dataclass; nested dataclasses are followed."""
    hints = typing.get_type_hints(config)
    for item in dataclasses.fields(config):
        nested = dataclass_in(hints[item.name])
        if nested is not None:
            yield from ((f"{item.name}.{key}", kind, default) for key, kind, default in config_keys(nested))
            continue
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        kind = hints[item.name]
        yield item.name, kind.__name__ if type(kind) is type else str(kind).replace("typing.", ""), default


def keys_at(config: type, path: tuple[str, ...]) -> list[str]:
    """Return the keys that are valid below ``path``; none where nothing can be nested there."""
    found: type | None = config
    for part in path:
        hints = typing.get_type_hints(found) if found is not None else {}
        found = dataclass_in(hints.get(part))
    return [item.name for item in dataclasses.fields(found)] if found is not None else []


def dataclass_in(hint: Any) -> Any:  # noqa: ANN401  # a type hint; the answer is a dataclass or None
    """Return the dataclass that a hint names, also as ``X | None``."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option)), None)
