"""What a suite file may say: its keys, their types and bounds. pydantic checks them; ``suite`` makes a ``Suite``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from refbench.files.sizes import parse_size
from refbench.geometry.warp import kernels

VERSION = 1
LABEL = r"^[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*$"
"""Letters, digits and ``_ .``, with single ``-`` between: names of methods and suites are parts of folders' names."""

Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


def _size(value: object) -> int:
    try:
        return parse_size(str(value))
    except ValueError:
        raise ValueError("must be a size such as 500MB or 4GB") from None


def _kernel(value: str) -> str:
    if value not in kernels:
        raise ValueError(f"must be {' or '.join(kernels)}")
    return value


Size = Annotated[int, BeforeValidator(_size)]
"""Bytes, or text such as 4GB."""
NeedName = Literal["grid", "dsm", "points", "ortho", "ortho_pair", "ndvi", "views", "depths"]


@dataclass(frozen=True)
class MethodItem:
    """One entry of ``methods``: ``method`` or ``needing``, and with what it runs."""

    method: str | None = None
    needing: Annotated[list[NeedName], Field(min_length=1)] | None = None
    label: Annotated[str, Field(pattern=LABEL)] | None = None
    config: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    env: str | None = None

    def __post_init__(self) -> None:
        """Refuse both and neither of ``method`` and ``needing``."""
        if (self.method is None) == (self.needing is None):
            raise ValueError("needs either the key method or the key needing")


@dataclass(frozen=True)
class CityItem:
    """A procedural city: pixels a side, metres a pixel, aerial views."""

    seed: Natural
    size: Annotated[int, Field(ge=32)] = 256
    gsd: Annotated[float, Field(ge=0.1)] = 0.5
    aerial: Natural = 0


@dataclass(frozen=True)
class CutItem:
    """A square of ``size_m`` metres out of the middle of a scene."""

    size_m: Annotated[float, Field(ge=1)]
    scene: str = "embedded"


@dataclass(frozen=True)
class SceneItem:
    """One entry of ``scenes``: exactly one of its keys."""

    path: str | None = None
    city: CityItem | None = None
    found_in: str | None = None
    cut: CutItem | None = None

    def __post_init__(self) -> None:
        """Refuse more or less than one key."""
        if sum(value is not None for value in (self.path, self.city, self.found_in, self.cut)) != 1:
            raise ValueError("must hold exactly one of city, found_in, cut")


@dataclass(frozen=True)
class ProtocolItem:
    """The rules of the comparison."""

    coregister: Literal["none", "initial-once"] = "none"
    domain: Annotated[list[Literal["own", "common"]], Field(min_length=1)] = field(
        default_factory=lambda: ["own", "common"]
    )
    resampling: Annotated[str, AfterValidator(_kernel)] = "bilinear"
    strata: Annotated[list[str], Field(min_length=1)] = field(default_factory=lambda: ["all"])


@dataclass(frozen=True)
class BudgetItem:
    """Limits of every job."""

    deadline_s: Annotated[float, Field(ge=0.1)] | None = None
    memory_cap: Size | None = None
    threads: Positive | None = 1
    memory: Size = 2 << 30
    steps: Positive | None = None


@dataclass(frozen=True)
class SuiteFile:
    """All of a suite file; names of methods and scenes have become entries with one key."""

    refbench_suite: int
    methods: Annotated[list[MethodItem], Field(min_length=1)]
    scenes: Annotated[list[SceneItem], Field(min_length=1)]
    name: Annotated[str, Field(pattern=LABEL)] = "suite"
    summary: str = ""
    seeds: Annotated[list[Natural], Field(min_length=1)] = field(default_factory=lambda: [0])
    device: str = "cpu"
    protocol: ProtocolItem = field(default_factory=ProtocolItem)
    budgets: BudgetItem = field(default_factory=BudgetItem)
    assessors: dict[str, dict[str, Any] | None] = field(default_factory=dict)
