"""Checking nested values against a configuration dataclass; the first mistake becomes one clear sentence."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from refbench.contracts.errors import ConfigError
from refbench.files.config_keys import config_keys, keys_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter, ValidationError

    Key = tuple[str, ...]

T = TypeVar("T")


def typed_config(config: type[T], values: Mapping[str, Any], label: str) -> T:
    """Return ``values`` as an instance of the dataclass ``config``; ``label`` names their file in errors.

    Raises
    ------
    ConfigError
        An unknown, missing or ill-typed key: file, key path and nearest valid key are named.
    """
    origins: dict[Key, str] = {}
    merged: dict[str, Any] = {}
    merge(merged, values, label, origins)
    instance: T = validated(config, merged, origins, label)[0]
    return instance


def merge(
    into: dict[str, Any], new: Mapping[Any, Any], origin: str, origins: dict[Key, str], key: tuple[str, ...] = ()
) -> None:
    """Merge ``new`` into ``into``: mapping into mapping recurses, anything else replaces. Remember who set what."""
    for raw, value in new.items():
        name = str(raw)
        path = (*key, name)
        origins[path] = origin
        if isinstance(value, dict):
            present = into.get(name)
            into[name] = present if isinstance(present, dict) else {}
            merge(into[name], value, origin, origins, path)
        else:
            into[name] = value


def validated(config: type, values: dict[str, Any], origins: dict[Key, str], label: str) -> tuple[Any, dict[str, Any]]:
    """Return the instance of a configuration dataclass and its JSON values.

    ``origins`` say which file or option set each key, ``label`` names the source where nothing did.

    Raises
    ------
    ConfigError
        The first mistake as a sentence: file, key path, nearest valid key.
    """
    # pydantic is imported where there is something to check: the listing verbs resolve classes that could read files.
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    # A dataclass takes no settings from an adapter, but inherits them inside a list. JSON, since strict JSON accepts
    # what YAML can express (lists for tuples, strings for enumerations and paths) and still refuses "3" for 3.
    adapter: TypeAdapter[Any] = TypeAdapter(list[config], config=ConfigDict(extra="forbid"))  # type: ignore[valid-type]
    try:
        instance = adapter.validate_json(json.dumps([values], default=str), strict=True)[0]
    except ValidationError as error:
        raise ConfigError(_sentence(config, error, origins, label)) from error
    dumped: dict[str, Any] = adapter.dump_python([instance], mode="json")[0]
    return instance, dumped


def _sentence(config: type, error: ValidationError, origins: dict[Key, str], label: str) -> str:
    """Say where the first mistake is, what it is and what was meant; and how many more there are."""
    mistakes = error.errors(include_url=False)
    # An unknown key first: it is the likelier cause of a missing one.
    first = min(mistakes, key=lambda mistake: mistake["type"] != "unexpected_keyword_argument")
    location = tuple(str(part) for part in first["loc"][1:])
    dotted = ".".join(location)
    origin = next((origins[location[:n]] for n in range(len(location), 0, -1) if location[:n] in origins), None)
    where = origin or ", ".join(dict.fromkeys(origins.values())) or label
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    if first["type"] == "unexpected_keyword_argument":
        return f"{where}: unknown key {dotted}; did you mean {_nearest(config, location)}?{more}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    given = "" if first["type"] == "missing" or not location else f", got {first['input']!r:.80}"
    return f"{where}: {dotted + ': ' if dotted else ''}{message[:1].lower()}{message[1:]}{given}.{more}"


def _nearest(config: type, location: Key) -> str:
    """Return the dotted key that ``location`` most likely means: of its own level first, then anywhere."""
    *parents, wrong = location
    siblings = {name: ".".join((*parents, name)) for name in keys_at(config, tuple(parents))}
    anywhere = {key.rpartition(".")[2]: key for key, _, _ in config_keys(config)}
    for keys, cutoff in ((siblings, 0.6), (anywhere, 0.8), (siblings, 0.0), (anywhere, 0.0)):
        if near := difflib.get_close_matches(wrong, keys, n=1, cutoff=cutoff):
            return keys[near[0]]
    return "no key at all"
