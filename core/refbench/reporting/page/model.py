"""What the page shows, before it is HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refbench.reporting.tables.model import Table


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface of a scene. Images are data URLs; ``grid`` is base64 of deflated heights, see ``surfaces``."""

    name: str
    shade: str
    grid: str
    error: str | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class SceneView:
    """The surfaces of one scene on one grid: initial DSM, methods, reference, as far as there are any."""

    name: str
    surfaces: tuple[Surface, ...]
    rows: int
    cols: int
    across: tuple[float, float]
    """East and north metres from the left edge of the images to the right one."""
    down: tuple[float, float]
    """East and north metres from the upper edge to the lower one."""
    base: float
    """Heights of the grids are centimetres above it."""
    legend: str | None = None
    note: str = ""

    @property
    def aspect(self) -> float:
        """Width over height on the ground, which the images are shown in."""
        return math.hypot(*self.across) / math.hypot(*self.down)


@dataclass(frozen=True, slots=True)
class Plot:
    """An accuracy-against-cost plot as SVG."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True)
class Run:
    """One job: how it ended and how to run it again."""

    name: str
    status: str
    is_ok: bool
    command: str
    reason: str = ""
    log: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page."""

    title: str
    subtitle: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    scenes: tuple[SceneView, ...] = ()
    plots: tuple[Plot, ...] = ()
    runs: tuple[Run, ...] = ()
    details: tuple[tuple[str, str], ...] = field(default=())
    """(heading, preformatted text): manifest, configuration."""
