"""What a suite file may say: its keys, their types and bounds. pydantic checks them; ``suite`` makes a ``Suite``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from refbench.files.sizes import parse_size
from refbench.formats.warped import ALL_KERNELS

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
    if value not in ALL_KERNELS:
        raise ValueError(f"must be {' or '.join(ALL_KERNELS)}")
    return value


Size = Annotated[int, BeforeValidator(_size)]
"""Bytes, or text such as 4GB."""
NeedName = Literal["grid", "dsm", "points", "ortho", "ortho_pair", "ndvi", "views", "depths"]


@dataclass(frozen=True)
class MethodItem:
    """One entry of ``methods``: ``method`` or ``needing``, and with what it runs."""

    method: str | None = None
    """Name of a method."""
    needing: Annotated[list[NeedName], Field(min_length=1)] | None = None
    """Instead: every installed method that needs one of these things of a scene."""
    label: Annotated[str, Field(pattern=LABEL)] | None = None
    """Name of the row where a method runs more than once; default: the method's."""
    config: str | None = None
    """Configuration by name or path."""
    set: dict[str, Any] = field(default_factory=dict)
    """Values set on top of it, as --set does."""
    weights: str | None = None
    """Weights by name or path."""
    env: str | None = None
    """Python interpreter of the job, for plugins whose packages conflict."""

    def __post_init__(self) -> None:
        """Refuse both and neither of ``method`` and ``needing``."""
        if (self.method is None) == (self.needing is None):
            raise ValueError("needs either the key method or the key needing")


@dataclass(frozen=True)
class CityItem:
    """A procedural city: pixels a side, metres a pixel, aerial views."""

    seed: Natural
    """Seed of the city."""
    size: Annotated[int, Field(ge=32)] = 256
    """Pixels a side."""
    gsd: Annotated[float, Field(ge=0.1)] = 0.5
    """Metres a pixel."""
    aerial: Natural = 0
    """How many oblique aerial views."""


@dataclass(frozen=True)
class CutItem:
    """A square of ``size_m`` metres out of the middle of a scene."""

    size_m: Annotated[float, Field(ge=1)]
    """Side of the square in metres."""
    scene: str = "embedded"
    """Scene that it is cut from."""


@dataclass(frozen=True)
class SceneItem:
    """One entry of ``scenes``: exactly one of its keys."""

    path: str | None = None
    """A scene's folder or file, or embedded; what a name alone means."""
    city: CityItem | None = None
    """A procedural city, made into the sweep's folder."""
    found_in: str | None = None
    """All scenes below a folder; $NAME is an environment variable."""
    cut: CutItem | None = None
    """A square out of a scene."""

    def __post_init__(self) -> None:
        """Refuse more or less than one key."""
        if sum(value is not None for value in (self.path, self.city, self.found_in, self.cut)) != 1:
            raise ValueError("must hold exactly one of city, found_in, cut")


@dataclass(frozen=True)
class ProtocolItem:
    """The rules of the comparison."""

    coregister: Literal["none", "initial-once"] = "none"
    """Nothing, or the one shift that lays the initial DSM on the reference for every DSM."""
    domain: Annotated[list[Literal["own", "common"]], Field(min_length=1)] = field(
        default_factory=lambda: ["own", "common"]
    )
    """Pixels of the tables: each method's own, or those common to all."""
    resampling: Annotated[str, AfterValidator(_kernel)] = "bilinear"
    """Kernel by which DSMs come to the reference's grid."""
    strata: Annotated[list[str], Field(min_length=1)] = field(default_factory=lambda: ["all"])
    """Strata of the tables."""


@dataclass(frozen=True)
class BudgetItem:
    """Limits of every job."""

    deadline_s: Annotated[float, Field(ge=0.1)] | None = None
    """Seconds after which a job ends as timeout; null: never."""
    memory_cap: Size | None = None
    """Memory above which a job ends as oom; null: none."""
    threads: Positive | None = 1
    """Threads of torch and BLAS per job; null: all cores."""
    memory: Size = 2 << 30
    """Memory budget for the tiles processed at once."""
    steps: Positive | None = None
    """Steps of an optimisation or training, where a method counts them."""


@dataclass(frozen=True)
class SuiteFile:
    """All of a suite file; names of methods and scenes have become entries with one key."""

    refbench_suite: int
    """Version of the format: 1."""
    methods: Annotated[list[MethodItem], Field(min_length=1)]
    """What runs; all: every installed method."""
    scenes: Annotated[list[SceneItem], Field(min_length=1)]
    """On what it runs."""
    name: Annotated[str, Field(pattern=LABEL)] = "suite"
    """Name of the suite."""
    summary: str = ""
    """A sentence for readers."""
    seeds: Annotated[list[Natural], Field(min_length=1)] = field(default_factory=lambda: [0])
    """Seeds of stochastic methods; all others run once."""
    device: str = "cpu"
    """cpu or cuda."""
    protocol: ProtocolItem = field(default_factory=ProtocolItem)
    """Rules of the comparison."""
    budgets: BudgetItem = field(default_factory=BudgetItem)
    """Limits of every job."""
    assessors: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """Assessors by name, each with its options."""
