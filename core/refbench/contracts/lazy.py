"""Names that are imported on first use, so that the listing verbs stay light."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(package: str, targets: Mapping[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Return a module ``__getattr__`` and ``__all__`` for ``targets``: name -> module that defines it (PEP 562)."""

    def getter(name: str) -> Any:  # noqa: ANN401  # PEP 562 fixes this signature
        if name not in targets:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(targets[name]), name)

    return getter, sorted(targets)
