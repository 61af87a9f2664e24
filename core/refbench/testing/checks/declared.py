"""What the record and the configuration say, before anything runs."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from refbench.contracts.errors import ConfigError
from refbench.contracts.method import Method, TileMethod
from refbench.contracts.need import Gives, Need
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.weights import list_weights
from refbench.registry.registry import load_registry
from refbench.testing.check import check
from refbench.testing.require import applies, require

if TYPE_CHECKING:
    from refbench.registry.loader import Plugin
    from refbench.testing.subject import Subject

HEAVY = frozenset({"numpy", "torch", "scipy", "rasterio", "cv2", "open3d", "pydantic", "pandas", "laspy", "matplotlib"})
UNKNOWN_KEY = "no_such_key_anywhere"


@check("record")
def record(subject: Subject) -> None:
    """The record says what the method needs and gives, in types of refbench and one line of summary."""
    said = subject.record
    require(bool(said.summary.strip()) and "\n" not in said.summary, "summary must be one line of text")
    require(all(isinstance(need, Need) for need in (*said.needs, *said.optional)), "needs must hold members of Need")
    require(all(isinstance(gives, Gives) for gives in said.gives), "gives must hold members of Gives")
    require(bool(said.needs) and bool(said.gives), "needs and gives must not be empty")
    require(not set(said.needs) & set(said.optional), "optional names a need that is no option")
    require(all(isinstance(key, str) and isinstance(text, str) for key, text in said.tags.items()), "tags must be text")


@check("weights-named")
def weights_named(subject: Subject) -> None:
    """The weights that the record names as built in are there."""
    said = subject.record
    applies(said.weights_in is not None, "it ships no weights")
    there = {found.name for found in list_weights(said) if found.where == "package"}
    hidden = {found.name for found in list_weights(said)}
    missing = [name for name in said.weights if name not in there | hidden]
    require(not missing, f"weights_in holds no weights folder {', '.join(missing)}")


@check("import-budget")
def import_budget(subject: Subject) -> None:
    """Listing the method imports nothing heavy: the record's module needs refbench alone."""
    plugin = load_registry().methods.plugin_of(subject.name)
    code = f"import sys; sys.path[:0] = {sys.path!r}; {_import_of(plugin)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"its record cannot be imported alone: {done.stderr.strip()[-200:]}")
    heavy = {name.partition(".")[0] for name in done.stdout.split()} & HEAVY
    require(not heavy, f"importing its record imports {', '.join(sorted(heavy))}")


def _import_of(plugin: Plugin) -> str:
    """Return the statement that imports the module of a plugin."""
    if not plugin.version:  # an unpackaged file
        return (
            "from pathlib import Path; from refbench.registry.loader import Options, load_plugins; "
            f"load_plugins(Options((Path({plugin.distribution!r}),)))"
        )
    points = metadata.entry_points(group="refbench", name=plugin.name)
    module = next(point.module for point in points if point.dist and point.dist.name == plugin.distribution)
    return f"import {module}"


@check("loads")
def loads(subject: Subject) -> None:
    """The class behind the record is a method and can be made from the defaults."""
    made = subject.load()
    kinds = isinstance(made, (TileMethod, Method))
    require(kinds, f"{type(made).__name__} has neither refine_tiles (derive from refbench.TileMethod) nor refine")
    module = inspect.getmodule(type(made))
    require(module is not None and importlib.import_module(module.__name__) is module, "its class is in no module")


@check("unknown-key")
def unknown_key(subject: Subject) -> None:
    """A key that the configuration does not have is refused."""
    try:
        load_config(subject.record, subject.config_name, {**subject.overrides, UNKNOWN_KEY: 1})
    except ConfigError:
        return
    require(False, f"the configuration takes the key {UNKNOWN_KEY}; a frozen dataclass refuses it")


@check("config-repeats")
def config_repeats(subject: Subject) -> None:
    """The resolved configuration, as result.json keeps it, gives the same configuration again."""
    first = subject.resolved
    applies(bool(first.values), "it has no configuration")
    again = load_config(subject.record, None, json.loads(json.dumps(first.values)))
    changed = [key for key, value in first.values.items() if again.values.get(key) != value]
    require(not changed, f"reading it back changes {', '.join(changed)}")
