"""The scenes of a suite: found, cut or built. What cannot be had is a reason, not an error."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, InputError, MissingFileError, SkippedError, UnsupportedError
from refbench.engine.inputs.scene import open_scene
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Status
from refbench.engine.sweeps.cache_key import scene_key
from refbench.engine.sweeps.made_scenes import made_scene
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.scenes.discovery import found_scenes
from refbench.scenes.scene_yaml import embedded_scene_path

if TYPE_CHECKING:
    from refbench.engine.sweeps.suite import SceneEntry, Suite


@dataclass(frozen=True, slots=True)
class PlannedScene:
    """A scene by name, before it is opened. ``recipe`` tells how to make it below the sweep; empty where it is there.

    ``missing`` says why there is none.
    """

    name: str
    request: SceneRequest = field(default_factory=SceneRequest)
    recipe: dict[str, Any] = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class ReadyScene:
    """A scene that was made and opened: its key; or the status and reason of its jobs."""

    request: SceneRequest
    key: str | None = None
    ending: tuple[Status, str] | None = None


def plan_scenes(suite: Suite) -> tuple[PlannedScene, ...]:
    """Return the scenes of a suite; nothing is made.

    Raises
    ------
    MissingFileError
        A path of the suite is not there.
    ConfigError
        Two scenes have the same name.
    """
    planned = [scene for entry in suite.scenes for scene in _planned(entry, suite.source)]
    names = [scene.name for scene in planned]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{suite.source}: scenes: two scenes are called {twice}; rename the folder of one of them.")
    return tuple(planned)


def _planned(entry: SceneEntry, source: str) -> list[PlannedScene]:
    values = entry.values
    if entry.kind == "embedded":
        return [PlannedScene("embedded", SceneRequest(str(embedded_scene_path())))]
    if entry.kind == "path":
        path = _existing(Path(values["path"]), source)
        return [PlannedScene(safe_name((path.parent if path.is_file() else path).name), SceneRequest(str(path)))]
    if entry.kind == "city":
        return [PlannedScene(f"city-{values['seed']:04d}", recipe={"city": values})]
    if entry.kind == "cut":
        base = values["scene"]
        path = embedded_scene_path() if base == "embedded" else _existing(Path(base), source)
        recipe = {"cut": {"scene": str(path), "size_m": values["size_m"]}}
        return [PlannedScene(f"{safe_name(path.name)}-{values['size_m']:g}m", recipe=recipe)]
    return _found(values["folder"])


def _existing(path: Path, source: str) -> Path:
    if not path.exists():
        raise MissingFileError(f"{source}: scenes: there is no {path}.")
    return path


def _found(folder: str) -> list[PlannedScene]:
    """Return the scenes below a folder, which may be named by an environment variable."""
    expanded = os.path.expandvars(folder)
    if expanded.startswith("$") or not expanded:
        name = folder.strip("${}")
        reason = f"Set {name} to the folder of your scenes; each of its folders is one."
        return [PlannedScene(safe_name(name), missing=reason)]

    def recognises(path: Path) -> bool:
        return any(resolve(importer.recognises)(path) for importer in load_registry().importers)

    try:
        found = found_scenes(Path(expanded).expanduser().absolute(), recognises)
    except MissingFileError as error:
        return [PlannedScene(safe_name(folder), missing=str(error))]
    if not found:
        return [PlannedScene(safe_name(folder), missing=f"{expanded} holds no scene.")]
    return [
        PlannedScene(safe_name(scene.name), SceneRequest(None if scene.path is None else str(scene.path), scene.files))
        for scene in found
    ]


def safe_name(name: str) -> str:
    """Return a name that can be part of a job's: letters, digits, ``_ .`` and single ``-``."""
    kept = "".join(c if (c.isascii() and c.isalnum()) or c in "_." else "-" for c in name)
    return "-".join(part for part in kept.split("-") if part).strip(".") or "scene"


def scene_fault(planned: PlannedScene) -> str | None:
    """Return why a scene that is there cannot be opened; None where it can, is made first, or is missing anyway."""
    if planned.recipe or planned.missing is not None:
        return None
    try:
        open_scene(JobRequest("", planned.request, ""))
    except (InputError, SkippedError, UnsupportedError) as error:
        return str(error)
    return None


def ready_scene(planned: PlannedScene, folder: Path) -> ReadyScene:
    """Make a scene where it has to be made, below ``folder``, and open it; what goes wrong is the ending of its jobs.

    A scene that is there by the same recipe and the same code is taken as it is.
    """
    request = planned.request
    if planned.missing is not None:
        return ReadyScene(request, ending=(Status.SKIPPED, planned.missing))
    try:
        if planned.recipe:
            request = SceneRequest(str(made_scene(planned.recipe, folder / planned.name)))
        return ReadyScene(request, scene_key(open_scene(JobRequest("", request, ""))))
    except SkippedError as error:
        return ReadyScene(request, ending=(Status.SKIPPED, str(error)))
    except UnsupportedError as error:
        return ReadyScene(request, ending=(Status.UNSUPPORTED, str(error)))
    except InputError as error:
        return ReadyScene(request, ending=(Status.FAILED, str(error)))
