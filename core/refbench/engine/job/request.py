"""What is asked of a cell: plain data that travels to the cell's process as JSON."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.scenes.from_files import scene_from_files
from refbench.scenes.scan import scanned
from refbench.scenes.scene_yaml import SCENE_FILE, embedded_scene_path, load_scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench.contracts.scene import Scene
    from refbench.registry.records import MethodRecord


@dataclass(frozen=True, slots=True)
class SceneRequest:
    """A scene: a folder, or arguments of ``scene_from_files``; neither: see ``open_scene``.

    ``name`` picks one of the data sets that an official configuration lists.
    """

    path: str | None = None
    files: dict[str, Any] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CellRequest:
    """One cell. Paths are absolute strings; sizes bytes; ``deadline_s`` None means none."""

    method: str
    scene: SceneRequest
    out: str
    config: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    memory_budget_bytes: int = 2 << 30
    memory_cap_bytes: int | None = None
    deadline_s: float | None = None
    gsd: float | None = None
    nodata: float = -9999.0
    bootstrap: bool = True
    coregister: str = "none"
    """``initial-once``: the shift that lays the initial DSM on the reference is applied to every DSM before scoring."""
    assessors: tuple[str, ...] = ()
    assessor_options: dict[str, Any] = field(default_factory=dict)
    resampling: str = "bilinear"
    """Kernel by which a DSM comes to the reference's grid; see ``refbench.geometry.warp``."""
    python: str | None = None
    """Interpreter of the cell, for plugins whose packages conflict; None takes the running one."""
    checkpoints: str | None = None
    """Folder where the method keeps its state between runs; a result does not depend on it."""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> CellRequest:
        """Return the request that ``to_json`` wrote."""
        values = json.loads(text)
        made = {"scene": SceneRequest(**values["scene"]), "assessors": tuple(values["assessors"])}
        return cls(**{**values, **made})

    @property
    def folder(self) -> Path:
        """The folder that the cell's process writes to."""
        return Path(self.out)


def open_scene(request: CellRequest) -> Scene:
    """Open the scene of a request.

    Plain files win; a folder is a refbench scene, or of a layout that an importer recognises; without either the
    official configuration may name its own data set; else it is the embedded scene.

    Raises
    ------
    InputError
        As the readers do.
    """
    wanted = request.scene
    if wanted.files:
        return scene_from_files(**wanted.files)
    if wanted.path is not None:
        path = Path(wanted.path)
        if path.is_dir() and not (path / SCENE_FILE).exists():
            for importer in load_registry().importers:
                if resolve(importer.recognises)(path):
                    scene: Scene = resolve(importer.target)(path)
                    return scanned(scene)
        return scanned(load_scene(path))
    official = _official_scene(request)
    return scanned(official if official is not None else load_scene(embedded_scene_path()))


def official_function(record: MethodRecord, request: CellRequest, name: str) -> Callable[..., Any] | None:
    """Return a function of the method's official module where the request runs an official file's own data sets."""
    if request.config is None or record.official is None or not Path(request.config).is_file():
        return None
    if request.scene.files or request.scene.path is not None:
        return None
    module = importlib.import_module(record.official)
    if getattr(module, "read_config", lambda path: None)(Path(request.config)) is None:
        return None
    found: Callable[..., Any] | None = getattr(module, name, None)
    return found


def official_scene_names(request: CellRequest) -> tuple[str, ...]:
    """Return the names of the data sets that an official configuration lists; empty where it lists none or one."""
    listing = official_function(load_registry().methods.get(request.method), request, "scene_names")
    return () if listing is None else tuple(listing(Path(str(request.config))))


def _official_scene(request: CellRequest) -> Scene | None:
    """Return the scene that an official configuration file names itself, None where there is no such thing."""
    reader = official_function(load_registry().methods.get(request.method), request, "scene_from_config")
    if reader is None:
        return None
    path = Path(str(request.config))
    scene: Scene | None = reader(path) if request.scene.name is None else reader(path, request.scene.name)
    return scene
