"""Recipes: trainings that anybody repeats by name, as YAML files of ``refbench.configs``."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.engine.inputs.shipped_configs import SHIPPED_PACKAGE
from refbench.files.yaml_file import check_keys, mapping, read_mapping, text

FOLDER = "recipes"
KEYS = ("method", "about", "weights", "steps", "config")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training: the method, its configuration, the weights that it starts from (None: none), optimiser steps."""

    name: str
    method: str
    config: dict[str, Any]
    weights: str | None = None
    steps: int | None = None


def recipes() -> dict[str, Path]:
    """Return the recipes that refbench carries: name -> file."""
    root = Path(str(importlib.resources.files(SHIPPED_PACKAGE))) / FOLDER
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def read_recipe(source: str) -> Recipe:
    """Return the recipe of a name or a file.

    Raises
    ------
    MissingFileError
        There is neither such a name nor such a file.
    ConfigError
        The file is no recipe.
    """
    shipped = recipes()
    path = shipped.get(source, Path(source))
    if not path.is_file():
        raise MissingFileError(f"There is no recipe {source}; there are: {', '.join(shipped) or 'none'}.")
    values = read_mapping(path)
    check_keys(str(path), values, KEYS)
    if "method" not in values:
        raise ConfigError(f"{path} names no method; a recipe needs one.")
    steps, weights = values.get("steps"), values.get("weights")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise ConfigError(f"{path}: steps must be a whole number of at least 1, got {steps!r}.")
    return Recipe(
        path.stem,
        text(f"{path}: method", values["method"]),
        mapping(f"{path}: config", values.get("config") or {}),
        None if weights is None else text(f"{path}: weights", weights),
        steps,
    )
