"""YAML as all files and options of refbench are read: safe, bounded, each key once, and ``1e-3`` is a number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_DEPTH = 64
MAX_NODES = 1_000_000
"""Of a document once every alias is written out."""
MAX_DIGITS = 400
"""Longer numbers are in no measurement; reading one takes quadratic time."""
NESTED = "the file looks maliciously nested"


class _BoundedLoader(yaml.SafeLoader):
    """The safe loader of YAML 1.1 with bounds on what it builds, each key once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; the depth is bounded before Python's stack is."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"{NESTED} (deeper than {MAX_DEPTH} levels)")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's node, its size bounded with every alias written out."""
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MAX_NODES:
            raise yaml.YAMLError(f"{NESTED} (aliases of aliases)")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; a key that it holds twice is an error. Keys that a merge brings may be replaced."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} is given twice; keep one", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def number(self, node: yaml.ScalarNode) -> int | float:
        """Build a number of a bounded length."""
        if len(node.value) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value)} digits; give one of at most {MAX_DIGITS}", node.start_mark
            )
        return self.construct_yaml_float(node) if node.tag == _FLOAT else self.construct_yaml_int(node)


class _Loader(_BoundedLoader):
    """The same with the floats of YAML 1.2: 1.1 takes ``1e-3`` for a string."""


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader would otherwise read as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401  # any value
        """Write everything out."""
        del data
        return True

    def one_line(self, data: str) -> yaml.ScalarNode:
        """Write a text with breaks in double quotes, where they are escaped: everything stays on one line."""
        style = '"' if any(mark in data for mark in _BREAKS) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_BREAKS = tuple("\n\r\x85\u2028\u2029")
_FLOAT = "tag:yaml.org,2002:float"
_FLOAT_RULE = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in rules if tag != _FLOAT]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver(_FLOAT, _FLOAT_RULE, list("-+0123456789."))
_Dumper.add_representer(str, _Dumper.one_line)
for _tag in (_FLOAT, "tag:yaml.org,2002:int"):
    _BoundedLoader.add_constructor(_tag, _BoundedLoader.number)
    _Loader.add_constructor(_tag, _Loader.number)


def parse_yaml(text: str, *, yaml_1_1: bool = False) -> Any:  # noqa: ANN401  # whatever YAML can say
    """Return the content of a YAML document, of plain types.

    ``yaml_1_1`` is for files of other systems that read that version: ``1e-3`` stays text there.

    Raises
    ------
    yaml.YAMLError
        It is none, gives a key twice, or is nested, aliased or long beyond any use; the message says which.
    """
    try:
        return yaml.load(text, Loader=_BoundedLoader if yaml_1_1 else _Loader)
    except yaml.YAMLError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # PyYAML's own, such as on 2024-99-99
        raise yaml.YAMLError(f"a value that is none: {error}") from error


def yaml_value(value: Any) -> str:  # noqa: ANN401  # plain types
    """Return a value as one line of YAML that ``parse_yaml`` reads back."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def yaml_document(value: Any) -> str:  # noqa: ANN401  # plain types
    """Return a value as a YAML document that ``parse_yaml`` reads back: texts such as ``008`` are quoted."""
    return str(yaml.dump(value, Dumper=_Dumper, default_flow_style=None, width=120, sort_keys=False))


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many nodes a node holds once aliases are written out; each is counted once, so this is quick.

    Raises
    ------
    yaml.YAMLError
        A node holds itself.
    """
    if id(node) in known:
        if known[id(node)] == 0:
            raise yaml.YAMLError("an alias stands inside of what it names")
        return known[id(node)]
    known[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]
