"""Scenes that lie in a folder of folders, told by the names of their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import MissingFileError
from refbench.scenes.scene_yaml import SCENE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_RASTERS = (".tif", ".tiff", ".vrt")
_CLOUDS = (".laz", ".las", ".ply", ".npz")


@dataclass(frozen=True, slots=True)
class FoundScene:
    """A scene below a folder: ``path`` is a scene folder, or None; then ``files`` go to ``scene_from_files``."""

    name: str
    path: Path | None = None
    files: dict[str, Any] = field(default_factory=dict)


def found_scenes(folder: Path, recognises: Callable[[Path], bool] = lambda path: False) -> tuple[FoundScene, ...]:
    """Return the scenes in the sub-folders of ``folder``, by name.

    A sub-folder is a scene where it holds ``scene.yaml``, where ``recognises`` says so, or where it holds something
    to refine under a plain name: ``input_dsm`` or ``input_points``. Beside these count ``reference_dsm``, ``ortho*``,
    ``ndvi``, ``points`` and ``<class>_mask``. Whatever else there is belongs to nothing and is left alone.

    Raises
    ------
    MissingFileError
        There is no such folder.
    """
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder {folder} to look for scenes in.")
    found = []
    for path in sorted(item for item in folder.iterdir() if item.is_dir()):
        if (path / SCENE_FILE).is_file() or recognises(path):
            found.append(FoundScene(path.name, path))
        elif files := plain_files(path):
            found.append(FoundScene(path.name, None, files))
    return tuple(found)


def plain_files(folder: Path) -> dict[str, Any]:
    """Return the arguments of ``scene_from_files`` for a folder of plainly named files; empty where it is no scene."""
    rasters = {path.stem: str(path) for path in _sorted(folder, _RASTERS)}
    # The first suffix of _CLOUDS wins where one cloud lies there in two formats.
    clouds = {path.stem: str(path) for path in reversed(_sorted(folder, _CLOUDS))}
    if "input_dsm" not in rasters and "input_points" not in clouds:
        return {}
    single = {
        "dsm": rasters.get("input_dsm"),
        "points": clouds.get("input_points", clouds.get("points")),
        "reference": rasters.get("reference_dsm"),
        "ndvi": rasters.get("ndvi"),
    }
    many = {
        "orthos": [path for stem, path in rasters.items() if stem.startswith("ortho")],
        "masks": {stem.removesuffix("_mask"): path for stem, path in rasters.items() if stem.endswith("_mask")},
    }
    given = {key: value for key, value in (*single.items(), *many.items()) if value}
    return {**given, "scene_id": folder.name}


def _sorted(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files of these kinds, by kind and then by name."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in suffixes]
    return sorted(files, key=lambda path: (suffixes.index(path.suffix.lower()), path.name))
