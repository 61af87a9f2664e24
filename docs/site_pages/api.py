"""The names of Python: what ``refbench`` and its sub-packages for authors give, by autodoc."""

from __future__ import annotations

import inspect
from importlib import import_module

MODULES = ("refbench", "refbench.training", "refbench.testing")
INTRO = """# Python

`import refbench` imports nothing heavy; a name is imported when it is used. Plugins may use these names and the
sub-packages that [](../architecture.md) lists.
"""


def names(module: str) -> list[str]:
    """Return the public names of a module, sorted as a reader looks for them."""
    return sorted(import_module(module).__all__, key=str.lower)


def api_page() -> str:
    """Return the page of the API: an autodoc directive for every name."""
    lines = [INTRO]
    for module in MODULES:
        lines += [f"## {module}", ""]
        for name in names(module):
            value = getattr(import_module(module), name)
            kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
            members = ["   :members:"] if kind == "autoclass" else []
            lines += ["```{eval-rst}", f".. {kind}:: {module}.{name}", *members, "```", ""]
    return "\n".join(lines)
