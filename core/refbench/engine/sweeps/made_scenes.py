"""Scenes that a sweep makes for itself: made once, read-only for jobs, checked by hash."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.engine.sweeps.cache_key import core_code
from refbench.files.atomic import atomic_file
from refbench.files.hashing import hash_tree
from refbench.files.regular import read_regular, remove
from refbench.scenes.cut import write_cut
from refbench.scenes.scene_yaml import load_scene

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECIPE_FILE = "recipe.json"
"""In the folder of a made scene: how it was made, by which code, and the SHA-256 of its files."""
_NOTE_LIMIT = 64 << 20


def made_scene(recipe: Mapping[str, Any], folder: Path) -> Path:
    """Return the folder of a scene, made by ``recipe`` (``city`` or ``cut`` with their values) where it is not whole.

    It is whole where recipe, code and all its files are those that were written down when it was made.
    """
    wanted = {**recipe, "core": core_code()}
    if _note(folder) != {"recipe": wanted, "files": _files(folder)}:
        _make(wanted, folder)
    return folder


def _make(recipe: Mapping[str, Any], folder: Path) -> None:
    remove(folder)
    if "city" in recipe:
        from refbench.city.make import make_city
        from refbench.city.scene import write_city

        city = recipe["city"]
        write_city(make_city(city["seed"], city["size"], city["gsd"], aerial=city["aerial"]), folder)
    else:
        write_cut(load_scene(recipe["cut"]["scene"]), recipe["cut"]["size_m"], folder, folder.name)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    note = json.dumps({"recipe": recipe, "files": _files(folder)}, sort_keys=True)
    with atomic_file(folder / RECIPE_FILE) as file:
        file.write(note.encode())


def _files(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of a scene's files."""
    if not folder.is_dir():
        return {}
    return {name: digest for name, digest in hash_tree(folder).items() if name != RECIPE_FILE}


def _note(folder: Path) -> Any:  # noqa: ANN401  # JSON
    with contextlib.suppress(InputError, ValueError):
        return json.loads(read_regular(folder / RECIPE_FILE, _NOTE_LIMIT))
    return None


class SceneGuard:
    """Notices that a made scene was changed while a sweep runs, and makes it anew."""

    def __init__(self, scenes: Path) -> None:
        """Look at the scenes below ``scenes``, which are whole now."""
        folders = [folder for folder in scenes.iterdir() if folder.is_dir()] if scenes.is_dir() else []
        self._notes = {str(folder): note for folder in folders if (note := _note(folder)) is not None}

    def damage(self, folder: Path) -> str | None:
        """Return a sentence where a made scene is not as it was; it is whole again then. None for any other folder."""
        note = self._notes.get(str(folder))
        if note is None:
            return None
        found = _files(folder)
        changed = sorted(name for name in {*found, *note["files"]} if found.get(name) != note["files"].get(name))
        if not changed and _note(folder) == note:
            return None
        _make(note["recipe"], folder)
        return f"The scene {folder.name} was changed while the job ran ({', '.join(changed) or RECIPE_FILE})."
