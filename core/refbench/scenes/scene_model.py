"""What ``scene.yaml`` may say: its keys and their types. pydantic checks them, so this is imported on use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003  # pydantic resolves it
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class ViewItem:
    """One view: files, relative to the scene's; nearest and farthest depth in scene units; time of acquisition."""

    image: str
    camera: str | None = None
    depth: str | None = None
    mask: str | None = None
    depth_range: tuple[float, float] | None = None
    acquired: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse ranges that hold no depth."""
        if self.depth_range is not None and not 0 < self.depth_range[0] < self.depth_range[1]:
            raise ValueError("depth_range must hold 0 < nearest < farthest")


@dataclass(frozen=True)
class ReferenceItem:
    """Files of the reference; depths by view."""

    dsm: str | None = None
    mask: str | None = None
    depths: dict[str, str] | None = None


@dataclass(frozen=True)
class SceneModel:
    """All of ``scene.yaml``, version 1. A key without a value is as good as none."""

    refbench_scene: int
    id: str | None = None
    crs: str | None = None
    vertical: str | None = None
    height_unit: str | None = None
    gsd: float | None = None
    dsm: str | None = None
    points: str | None = None
    orthos: dict[str, str] | None = None
    pairs: list[Annotated[list[str], Field(min_length=2)]] | None = None
    ndvi: str | None = None
    views: dict[str, ViewItem] | None = None
    masks: dict[str, str] | None = None
    reference: ReferenceItem | None = field(default=None)
