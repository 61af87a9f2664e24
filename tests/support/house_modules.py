"""The modules of the house: those of core and of the plugins that come with it."""

import importlib.util
from importlib import metadata
from pathlib import Path

import refbench

CORE = Path(refbench.__file__).parent
PLUGINS = sorted(
    Path(str(importlib.util.find_spec(name).origin)).parent
    for name in {
        point.module.partition(".")[0]
        for point in metadata.entry_points(group="refbench")
        if point.dist.name == "refbench" and point.module.partition(".")[0] != "refbench"
    }
)
CORE_MODULES = sorted(CORE.rglob("*.py"))
PLUGIN_MODULES = [path for folder in PLUGINS for path in sorted(folder.rglob("*.py"))]


def module_name(path):
    root = next(root for root in (CORE, *PLUGINS) if path.is_relative_to(root))
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
