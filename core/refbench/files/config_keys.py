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
    """Return the keys that are valid below ``path``; none where nothing can be nested there.

    Places in lists and names in mappings are parts of the path, too: ``("views", "v")``, ``("methods", "0")``.
    """
    hint: Any = config
    for part in path:
        options = _options(hint)
        holder = next((option for option in options if typing.get_origin(option) in (list, tuple, dict)), None)
        if holder is not None:
            hint = typing.get_args(holder)[1 if typing.get_origin(holder) is dict else 0]
            continue
        found = dataclass_in(hint)
        hint = typing.get_type_hints(found).get(part) if found is not None else None
    found = dataclass_in(hint)
    return [item.name for item in dataclasses.fields(found)] if found is not None else []


def _options(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401  # a type hint
    """Return the alternatives of a union; any other hint as its only one."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def dataclass_in(hint: Any) -> Any:  # noqa: ANN401  # a type hint; the answer is a dataclass or None
    """Return the dataclass that a hint names, also as ``X | None``."""
    return next(
        (option for option in _options(hint) if isinstance(option, type) and dataclasses.is_dataclass(option)), None
    )
