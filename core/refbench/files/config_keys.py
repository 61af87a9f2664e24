"""The keys of a configuration, told from its dataclass alone: the listing verbs need no more."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        if part.isdigit():  # a place in a list, whose entries the part before has named
            continue
        hints = typing.get_type_hints(found) if found is not None else {}
        found = dataclass_in(_entry(hints.get(part)))
    return [item.name for item in dataclasses.fields(found)] if found is not None else []


def _entry(hint: Any) -> Any:  # noqa: ANN401  # a type hint
    """Return the hint of a list's entries; any other hint as it is."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) in (list, tuple) else hint


def dataclass_in(hint: Any) -> Any:  # noqa: ANN401  # a type hint; the answer is a dataclass or None
    """Return the dataclass that a hint names, also as ``X | None``."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option)), None)
