"""The method under test: its record, configuration and weights, and the runs that several checks look at."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import ArrayError, MethodError, RefbenchError
from refbench.contracts.method import TileMethod
from refbench.contracts.need import Need
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.method import asked_weights, load_method
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.registry.registry import load_registry
from refbench.testing import scenes
from refbench.testing.require import NotApplicableError, require
from refbench.testing.trial import Trial, run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.registry.records import MethodRecord

CONFIG_TAG = "check.config"
"""Tag of a record that names the shipped configuration for checks, where the default takes long."""
SAME_M = 1e-4
"""Heights up to which two runs are the same, in metres."""


@dataclass
class Subject:
    """A method by name, as ``refbench check`` looks at it; a context manager of its temporary folder.

    ``config``, ``overrides`` and ``weights`` are as on the command line. ``given`` is a scene to use as the standard
    scene instead of a made one.
    """

    name: str
    config: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    given: Scene | None = None

    def __post_init__(self) -> None:
        """Find the record; raises ``UnknownNameError`` where there is none."""
        self.record: MethodRecord = load_registry().methods.get(self.name)
        self._folder = tempfile.TemporaryDirectory(prefix="refbench-check-")
        self.folder = Path(self._folder.name)
        self._trials: dict[str, Trial] = {}

    def __enter__(self) -> Subject:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove its folder."""
        self._folder.cleanup()

    @functools.cached_property
    def config_name(self) -> str | None:
        """The configuration that is checked: the one asked for, else that of the record's tag."""
        return self.config if self.config is not None else self.record.tags.get(CONFIG_TAG)

    @functools.cached_property
    def resolved(self) -> ResolvedConfig:
        """The configuration; raises ``ConfigError``."""
        return load_config(self.record, self.config_name, dict(self.overrides))

    def request(self, out: str = "", scene: Path | None = None) -> JobRequest:
        """Return the job that a user would ask for."""
        folder = SceneRequest(None if scene is None else str(scene))
        return JobRequest(
            self.name,
            folder,
            out,
            config=self.config_name,
            overrides=dict(self.overrides),
            weights=self.weights,
            threads=1,
            bootstrap=False,
        )

    def load(self, weights: Path | None = None) -> Any:  # noqa: ANN401  # the plugin's class
        """Return a new instance; ``weights`` None takes those of the method.

        Raises
        ------
        SkippedError
            A package or the weights are missing.
        """
        found = asked_weights(self.record, self.resolved, self.request().weights) if weights is None else weights
        return load_method(self.record, self.resolved, found, threads=1)

    @functools.cached_property
    def is_tiled(self) -> bool:
        """Whether it sees tiles rather than the scene."""
        return isinstance(self.load(), TileMethod)

    def needs(self, *, optional: bool = True) -> tuple[Need, ...]:
        """Return what a scene must hold, with or without what the method can do without."""
        asked = {*self.record.needs, *(self.record.optional if optional else ())}
        return tuple(need for need in Need if need in asked)

    def scene(self, grid: Grid | None = None, *, optional: bool = True, **how: Any) -> Scene:  # noqa: ANN401  # as scenes.scene takes
        """Return a scene that holds what the record asks for; see ``refbench.testing.scenes.scene``."""
        return scenes.scene(self.needs(optional=optional), grid, **how)

    def trial(self, scene: Scene, weights: Path | None = None, **how: Any) -> Trial:  # noqa: ANN401  # as run_trial takes
        """Run the method once; see ``run_trial``."""
        return run_trial(self.record, lambda: self.load(weights), scene, **how)

    @property
    def standard(self) -> Trial:
        """The run on the standard scene that most checks look at."""
        if "standard" not in self._trials:
            self._trials["standard"] = self.trial(self.scene() if self.given is None else self.given)
        return self._trials["standard"]

    def written_scene(self, name: str, scene: Scene) -> Path:
        """Write a scene below the folder and return where."""
        from refbench.scenes.write import write_scene

        return write_scene(self.folder / name, scene).parent


def ended_well(trial: Trial) -> Trial:
    """Return a run that ended with an answer; raises ``CheckFailedError`` otherwise."""
    require(trial.error is None, f"it raised {describe(trial.error)}")
    require(not trial.wrong_shape, trial.wrong_shape)
    return trial


def is_fair(error: BaseException | None) -> bool:
    """Return whether an error is a sentence for the user; an array against its contract is the method's own fault."""
    return isinstance(error, RefbenchError) and not isinstance(error, ArrayError | MethodError)


def describe(error: BaseException | None) -> str:
    """Return type and message of an error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def difference(first: Trial, second: Trial) -> tuple[float, str]:
    """Return the largest difference of two answers and what it is of; infinite where one knows a value alone."""
    worst, where = 0.0, ""
    for name, a, b in _pairs(first, second):
        apart = largest(a, b)
        if apart > worst:
            worst, where = apart, name
    return worst, where


def largest(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the largest absolute difference of two arrays; infinite where shapes or NaN differ.

    Of any shape and unit, alike in both.
    """
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    known = np.isfinite(a)
    return float(np.abs(a[known].astype(np.float64) - b[known]).max(initial=0.0))


def require_same(first: Trial, second: Trial, what: str, limit: float = SAME_M) -> None:
    """Raise ``CheckFailedError`` unless two runs ended well with the same answer."""
    ended_well(first), ended_well(second)
    worst, name = difference(first, second)
    require(worst <= limit, f"{what}: {name} differs by up to {worst:.3g}")


def require_dsm(trial: Trial) -> NDArray[np.float32]:
    """Return the heights; raises ``NotApplicableError`` for a method that gives none. Float32 [rows, cols], metres."""
    if trial.heights is None:
        raise NotApplicableError("it gives no DSM")
    return trial.heights


def _pairs(first: Trial, second: Trial) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    a, b = first.answer, second.answer
    for name in sorted({*a, *b}):
        nothing = np.zeros(0, np.float32)
        yield name, a.get(name, nothing), b.get(name, nothing)
