"""What a class says of its fields: names, types, defaults, and the meaning that its source gives beside them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from refbench.files.config_keys import dataclass_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "anything", type(None): "null"}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One line of a table: dotted key, type and default as a user writes them, meaning in Markdown (may be empty)."""

    key: str
    kind: str
    default: str
    meaning: str


def meanings(of: type) -> dict[str, str]:
    """Return the meaning of every field that the class's source explains.

    A string below a field counts first, then every sentence of the class's docstring that names the field in
    backticks.
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(of))).body[0]
    assert isinstance(body, ast.ClassDef)  # the source of a class
    found = {}
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        told = _string(after) or _sentences(inspect.getdoc(of) or "", node.target.id)
        if told:
            found[node.target.id] = " ".join(told.replace("``", "`").split())
    return found


def flat_rows(of: type, prefix: str = "") -> Iterator[FieldRow]:
    """Yield the fields of a configuration dataclass; those of nested ones follow under dotted keys."""
    hints, told = typing.get_type_hints(of), meanings(of)
    for item in dataclasses.fields(of):
        nested = dataclass_in(hints[item.name])
        if nested is not None:
            yield from flat_rows(nested, f"{prefix}{item.name}.")
            continue
        yield FieldRow(prefix + item.name, type_text(hints[item.name]), _default(item), told.get(item.name, ""))


def own_rows(of: type) -> Iterator[FieldRow]:
    """Yield the fields of a dataclass or pydantic model without following nested ones."""
    hints, told = _hints(of), meanings(of)
    if issubclass(of, BaseModel):
        for name, item in of.model_fields.items():
            default = "required" if item.is_required() else value_text(item.get_default(call_default_factory=True))
            yield FieldRow(name, type_text(hints[name]), default, told.get(name, ""))
        return
    for item in dataclasses.fields(of):
        yield FieldRow(item.name, type_text(hints[item.name]), _default(item), told.get(item.name, ""))


def _hints(of: type) -> dict[str, Any]:
    """Return the types of a class's fields; their texts where a name is known to type checkers alone."""
    try:
        return typing.get_type_hints(of)
    except NameError:
        return {item.name: item.type for item in dataclasses.fields(of)}


def type_text(hint: Any) -> str:  # noqa: ANN401  # a type hint
    """Return a type in the words of somebody who writes YAML.

    >>> type_text(float | None), type_text(tuple[int, ...])
    ('number or null', 'list of whole number')
    """
    if isinstance(hint, str):
        return f"`{hint}`"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return type_text(inner[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value_text(value)}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(option) for option in inner)
    if origin is tuple and inner[-1:] != (...,):
        return f"[{', '.join(type_text(option) for option in inner)}]"
    if origin in (list, tuple):
        return f"list of {type_text(inner[0])}"
    if origin is dict or (inner and len(inner) == 2):
        return f"name → {type_text(inner[1])}"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def value_text(value: Any) -> str:  # noqa: ANN401  # a default
    """Return a value as YAML writes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, dict) or hasattr(value, "items"):
        return f"{{{', '.join(f'{key}: {value_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return "{…}"
    return '""' if value == "" else str(value)


def table(rows: Iterable[FieldRow]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = "required" if row.default == "required" else f"`{row.default}`"
        lines.append(f"| `{row.key}` | {entry(row.kind)} | {entry(default)} | {entry(row.meaning)} |")
    return "\n".join(lines) + "\n"


def entry(text: str) -> str:
    """Return a text that does not end its table's entry."""
    return text.replace("|", "\\|")


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default is not dataclasses.MISSING:
        return value_text(item.default)
    return "required" if item.default_factory is dataclasses.MISSING else value_text(item.default_factory())


def _string(node: ast.stmt | None) -> str:
    """Return the text of a statement that is nothing but a string."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def _sentences(text: str, name: str) -> str:
    """Return the sentences of a docstring's paragraphs that name a field."""
    parts = re.split(r"(?<=[.])\s+(?=[A-Z`])|\n\s*\n", text)
    return " ".join(part for part in parts if re.search(rf"``{re.escape(name)}``", part))
