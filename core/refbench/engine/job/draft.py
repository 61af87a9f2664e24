"""What a job's process finds out, phase by phase: frozen parts that one place turns into a ``Result``.

The process writes its draft as JSON beside the outputs; the process that started it adds how it ended and what it cost.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from refbench.engine.job.result import Cost, Hashes, Phase, Result, Status, json_ready
from refbench.version import __version__

if TYPE_CHECKING:
    from refbench.engine.job.request import JobRequest


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Opened(_Part):
    """Scene and configuration: ``inputs`` is path -> SHA-256, ``config_hash`` that of the values."""

    scene: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    config_source: str = "defaults"
    config_hash: str | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Prepared(_Part):
    """What the scene lacked and was made: sentences on the bridges, and on those that were not crossed."""

    bridges: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Weights(_Part):
    """The weights: those asked for until the method says which ones it took. ``hashes`` is name -> SHA-256.

    ``warnings`` say where the scene lies outside their domain.
    """

    path: str | None = None
    hashes: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Machine(_Part):
    """Package, commit, versions, machine: see ``refbench.engine.job.manifest``."""

    manifest: dict[str, Any] = Field(default_factory=dict)


class Noted(_Part):
    """What the method says of itself."""

    notes: dict[str, Any] = Field(default_factory=dict)


class Refined(_Part):
    """What the method gave: name -> file, relative to the job's folder."""

    outputs: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Scored(_Part):
    """The metrics, or why there are none; see ``Result``."""

    metrics: dict[str, Any] | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()


class Exported(_Part):
    """What writing the official files said."""

    warnings: tuple[str, ...] = ()


class Written(_Part):
    """File -> SHA-256 of what lies in the folder at the end."""

    hashes: dict[str, str] = Field(default_factory=dict)


class Ending(_Part):
    """How the phases ended; for ``bad_input``, no status of a result, the caller raises ``InputError``."""

    status: Status | Literal["bad_input"]
    reason: str | None = None
    peak_memory_bytes: int | None = None


Part = Opened | Prepared | Weights | Machine | Noted | Refined | Scored | Exported | Written | Ending


class ResultDraft(_Part):
    """All parts, each empty until its phase has come."""

    phases: tuple[Phase, ...] = ()
    opened: Opened = Opened()
    prepared: Prepared = Prepared()
    weights: Weights = Weights()
    machine: Machine = Machine()
    noted: Noted = Noted()
    refined: Refined = Refined()
    scored: Scored = Scored()
    exported: Exported = Exported()
    written: Written = Written()
    ending: Ending | None = None
    is_damaged: bool = False
    """Whether the process left a file that is no draft."""

    def with_part(self, part: Part) -> ResultDraft:
        """Return the draft with ``part`` in its place; it replaces an earlier one of its kind."""
        return self.model_copy(update={type(part).__name__.lower(): part})

    def with_phase(self, phase: Phase) -> ResultDraft:
        """Return the draft with one phase more."""
        return self.model_copy(update={"phases": (*self.phases, phase)})

    def to_json(self) -> str:
        """Return the draft as JSON; what JSON cannot hold (NaN, arrays) is turned into what it can."""
        return json.dumps(json_ready(self.model_dump()), allow_nan=False)

    @property
    def warnings(self) -> list[str]:
        """The warnings of all phases, in their order."""
        parts = (self.opened, self.prepared, self.weights, self.refined, self.scored, self.exported)
        return [text for part in parts for text in part.warnings]

    def result(
        self, request: JobRequest, status: Status, reason: str | None, cost: Cost, log_tail: list[str]
    ) -> Result:
        """Return the result of a job that ended so: the one place where the parts come together.

        ``cost`` is the process's; its peak memory gives way to what the process itself had measured.
        """
        scored = self.scored.metrics is not None or self.scored.reason is not None
        peak = None if self.ending is None else self.ending.peak_memory_bytes
        return Result(
            refbench_version=__version__,
            method=request.method,
            scene=self.opened.scene or Path(request.scene.path or "").name,
            seed=request.seed,
            status=status,
            reason=reason,
            log_tail=log_tail if status is not Status.OK else [],
            config=self.opened.config,
            config_source=self.opened.config_source,
            weights=self.weights.path,
            metrics=self.scored.metrics,
            metrics_reason=self.scored.reason if scored else f"Nothing was scored: the job is {status.value}.",
            phases=list(self.phases),
            cost=cost.model_copy(update={"peak_memory_bytes": peak or cost.peak_memory_bytes}),
            hashes=Hashes(
                inputs=self.opened.inputs,
                weights=self.weights.hashes,
                outputs=self.written.hashes,
                config=self.opened.config_hash,
            ),
            bridges=list(self.prepared.bridges),
            warnings=self.warnings,
            notes=self.noted.notes,
            outputs=self.refined.outputs,
            created=now(),
            manifest=self.machine.manifest,
        )


def now() -> str:
    """Return the time of day in UTC, to the second, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
