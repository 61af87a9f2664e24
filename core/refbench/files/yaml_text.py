"""YAML as configurations use it: safe, and ``1e-3`` is a number."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """The safe loader with the floats of YAML 1.2; YAML 1.1 takes ``1e-3`` for a string."""


_FLOAT = "tag:yaml.org,2002:float"
_FLOAT_RULE = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != _FLOAT]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT, _FLOAT_RULE, list("-+0123456789."))


def parse_yaml(text: str) -> Any:  # noqa: ANN401  # whatever YAML can say
    """Return the content of a YAML document, of plain types; raises ``yaml.YAMLError``."""
    return yaml.load(text, Loader=_Loader)
