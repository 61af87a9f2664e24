"""The scene that a job runs on: the user's own, that of an official configuration, or the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.engine.inputs.config import load_config
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.scenes.from_files import scene_from_files
from refbench.scenes.scan import scanned
from refbench.scenes.scene_yaml import SCENE_FILE, embedded_scene_path, load_scene

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import OfficialRun, ResolvedConfig
    from refbench.engine.job.request import JobRequest


def official_run(request: JobRequest, config: ResolvedConfig) -> OfficialRun | None:
    """Return the official configuration whose own data set runs; None where the user gave a scene, or there is none."""
    return None if request.scene.is_given else config.official


def open_scene(request: JobRequest, config: ResolvedConfig | None = None) -> Scene:
    """Open the scene of a request.

    Plain files win; a folder is a refbench scene, or of a layout that an importer recognises; without either the
    official configuration may name its own data set; else it is the embedded scene.

    Parameters
    ----------
    request
        What was asked.
    config
        The configuration of the job where it has been read; else an official one is read here.

    Raises
    ------
    InputError
        As the readers do; also a data set by name where no official configuration names any.
    """
    wanted = request.scene
    if wanted.files:
        return scene_from_files(**wanted.files, resampling=request.resampling)
    if wanted.path is not None:
        return open_folder(Path(wanted.path), request.resampling)
    if config is None and request.config is not None:
        config = load_config(load_registry().methods.get(request.method), request.config, request.overrides)
    official = None if config is None else official_run(request, config)
    scene = None if official is None else official.scene(wanted.name)
    if scene is None and wanted.name is not None:
        raise InputError(f"There is no data set {wanted.name}: the configuration names none; leave out --data-set.")
    return scanned(load_scene(embedded_scene_path()) if scene is None else scene)


def open_folder(path: Path, resampling: str = "auto") -> Scene:
    """Open a folder of refbench, or of a layout that an importer recognises, and look at its pixels once.

    ``resampling`` is the kernel of what a ``scene.yaml`` holds on other grids.

    Raises
    ------
    InputError
        As the readers do.
    """
    if path.is_dir() and not (path / SCENE_FILE).exists():
        for importer in load_registry().importers:
            if resolve(importer.recognises)(path):
                scene: Scene = resolve(importer.target)(path)
                return scanned(scene)
    return scanned(load_scene(path, resampling=resampling))
