"""The checks, one module for each kind of behaviour. Importing this package registers all of them, in this order."""

from __future__ import annotations

import importlib

for _name in ("declared", "answers", "inputs", "heights", "repeats", "scenes_of_all_kinds", "process", "learning"):
    importlib.import_module(f"{__name__}.{_name}")
