"""Recipes: trainings that anybody repeats by name, as YAML files of ``refbench.configs``."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.engine.inputs.shipped_configs import SHIPPED_PACKAGE
from refbench.files.typed_config import typed_config
from refbench.files.yaml_file import read_mapping

FOLDER = "recipes"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training: the method, its configuration, the weights that it starts from (None: none), optimiser steps."""

    name: str
    method: str
    config: dict[str, Any]
    weights: str | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class _RecipeFile:
    """The keys of a recipe's file."""

    method: str
    about: str = ""
    weights: str | None = None
    steps: int | None = None
    config: dict[str, Any] = field(default_factory=dict)


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
    said = typed_config(_RecipeFile, read_mapping(path), str(path))
    if said.steps is not None and said.steps < 1:
        raise ConfigError(f"{path}: steps must be a whole number of at least 1, got {said.steps}.")
    return Recipe(path.stem, said.method, said.config, said.weights, said.steps)
