"""What is asked of a cell: plain data that travels to the cell's process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.scenes.plain import scene_from_files
from refbench.scenes.scan import scanned
from refbench.scenes.scene_file import embedded_scene_path, load_scene

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene


@dataclass(frozen=True, slots=True)
class SceneRequest:
    """A scene: a folder with ``scene.yaml``, or arguments of ``scene_from_files``; neither: the embedded scene."""

    path: str | None = None
    files: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Scene:
        """Open the scene; raises ``InputError`` as the readers do."""
        if self.files:
            return scene_from_files(**self.files)
        return scanned(load_scene(self.path if self.path is not None else embedded_scene_path()))


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
    python: str | None = None
    """Interpreter of the cell, for plugins whose packages conflict; None takes the running one."""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> CellRequest:
        """Return the request that ``to_json`` wrote."""
        values = json.loads(text)
        return cls(**{**values, "scene": SceneRequest(**values["scene"])})

    @property
    def folder(self) -> Path:
        """The folder that the cell's process writes to."""
        return Path(self.out)
