"""What configurations travel with a method."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
