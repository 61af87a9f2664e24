"""Content hashes of files and of configurations."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from refbench.files.gdal_path import GdalPath

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from refbench.contracts.scene import Scene

_BLOCK = 1 << 20


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_tree(path: Path) -> dict[str, str]:
    """Return name -> SHA-256 of a file, or of all files under a folder."""
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    base = path.parent if path.is_file() else path
    return {item.relative_to(base).as_posix(): hash_file(item) for item in files}


def hash_values(values: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return the SHA-256 of JSON values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def scene_files(scene: Scene) -> tuple[Path, ...]:
    """Return the files behind a scene, each once, in a fixed order."""
    found: Iterable[Path] = (path for source in _sources(scene) for path in source.files)
    return tuple(dict.fromkeys(found))


def _sources(scene: Scene) -> list[Any]:
    sources: list[Any] = [scene.dsm, scene.points, *scene.orthos.values(), scene.ndvi, *scene.masks.values()]
    sources += scene.layers.values()
    for view in scene.views.values():
        sources += [view.image, view.depth, view.mask]
    if scene.reference is not None:
        sources += [scene.reference.dsm, scene.reference.mask, *scene.reference.depths.values()]
    return [source for source in sources if source is not None]


def hash_inputs(scene: Scene) -> dict[str, str]:
    """Return path -> SHA-256 of the scene's files; paths relative to the scene's folder where they lie in it.

    What lies in an archive has the hash of the archive, what lies on the network that of its header and pixels.
    """
    hashes = {}
    sources = {path: source for source in _sources(scene) for path in source.files}
    for path in scene_files(scene):
        if isinstance(path, GdalPath):
            archive = path.archive
            hashes[str(path)] = sources[path].content_hash() if archive is None else hash_file(archive)
            continue
        inside = scene.folder is not None and path.is_relative_to(scene.folder)
        name = path.relative_to(scene.folder) if inside and scene.folder is not None else path
        hashes[name.as_posix()] = hash_file(path)
    return hashes
