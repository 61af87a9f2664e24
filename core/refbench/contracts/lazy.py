"""Names that are imported on first use, so that the listing verbs stay light."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(
    package: str, targets: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return a module's ``__getattr__``, ``__dir__`` and ``__all__`` for ``targets``: name -> module that defines it.

    See PEP 562. ``help``, ``dir`` and completion in a shell show the names, and importing them costs nothing.
    """

    def getter(name: str) -> Any:  # noqa: ANN401  # PEP 562 fixes this signature
        if name not in targets:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(targets[name]), name)

    names = sorted(targets)
    return getter, lambda: [*names, *(name for name in vars(sys.modules[package]) if name.startswith("__"))], names
