"""The result of one job: ``result.json``. Versioned; ``refbench validate --schema`` prints its JSON Schema."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refbench.contracts.errors import InputError
from refbench.engine.job.migrate import CURRENT, migrated
from refbench.engine.job.result_text import html_table, one_line
from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = CURRENT
RESULT_FILE = "result.json"


class Status(str, Enum):
    """How a job ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    CRASHED = "crashed"
    SKIPPED = "skipped"
    UNSUPPORTED = "unsupported"

    @property
    def exit_code(self) -> int:
        """Exit code of ``refbench run``: 0 ok, 1 failed in any way, 3 skipped or unsupported."""
        return {Status.OK: 0, Status.SKIPPED: 3, Status.UNSUPPORTED: 3}.get(self, 1)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Phase(_Model):
    """One phase of a run, in the order in which they ran."""

    name: str
    """open, prepare, load, refine, evaluate, official files."""
    wall_s: float
    """Seconds by the clock."""
    cpu_s: float
    """Seconds of all threads."""


class Cost(_Model):
    """What the whole process of the job took, from ``wait4``."""

    wall_s: float | None = None
    """Seconds by the clock."""
    cpu_s: float | None = None
    """Seconds of user and system of the process and its children."""
    peak_memory_bytes: int | None = None
    """Largest resident memory."""


class Hashes(_Model):
    """SHA-256 of files, by path relative to the scene or by name."""

    inputs: dict[str, str] = Field(default_factory=dict)
    """Of the scene's files."""
    weights: dict[str, str] = Field(default_factory=dict)
    """Of the weights that ran."""
    outputs: dict[str, str] = Field(default_factory=dict)
    """Of the files that were written."""
    config: str | None = None
    """Of the configuration's values."""


class Result(_Model):
    """One job = (method, config, scene, seed). Residuals are evaluated minus reference, metres; missing is null.

    ``metrics`` is null with ``metrics_reason`` where nothing was scored; else ``metrics.input`` and
    ``metrics.refined`` are stratum -> key -> value on the pixels where reference, input and refined are valid, and
    ``metrics.own_domain`` the same on each one's own pixels. What assessors found stands in ``assessors`` of
    ``metrics.input`` and ``metrics.refined``, assessor -> key -> value, also where no reference made any stratum.
    """

    schema_version: int = SCHEMA_VERSION
    """Version of this format; older ones are migrated on reading."""
    refbench_version: str
    """Version that ran."""
    method: str
    """Name of the method."""
    scene: str
    """Name of the scene."""
    seed: int
    """Seed of every random draw."""
    status: Status
    """How the job ended."""
    reason: str | None = None
    """One sentence where it is not ok."""
    log_tail: list[str] = Field(default_factory=list)
    """Last lines of the log where it is not ok."""
    config: dict[str, Any] = Field(default_factory=dict)
    """All values of the configuration, defaults included."""
    config_source: str = "defaults"
    """Where they came from: defaults, a name, a file."""
    weights: str | None = None
    """Path of the weights that ran."""
    metrics: dict[str, Any] | None = None
    """Scores of input and refined; null where nothing was scored."""
    metrics_reason: str | None = None
    """Why nothing was scored."""
    phases: list[Phase] = Field(default_factory=list)
    """What the phases took."""
    cost: Cost = Field(default_factory=Cost)
    """What the process took."""
    hashes: Hashes = Field(default_factory=Hashes)
    """SHA-256 of what went in and came out."""
    bridges: list[str] = Field(default_factory=list)
    """What the scene lacked and was made of what it has."""
    warnings: list[str] = Field(default_factory=list)
    """Sentences that a reader of the numbers should know."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """What the method says of its run."""
    outputs: dict[str, str] = Field(default_factory=dict)
    """Name to file, relative to the folder of ``result.json``."""
    created: str = ""
    """When, in UTC."""
    manifest: dict[str, Any] = Field(default_factory=dict)
    """Package, commit, versions, machine, environment."""

    def __repr__(self) -> str:
        """Return method, scene, how it ended and the error before and after, on one line."""
        return one_line(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return a small table for notebooks."""
        return html_table(self)


def json_ready(value: Any) -> Any:  # noqa: ANN401  # any JSON-like value
    """Return ``value`` with NaN and infinities as None and numpy numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return json_ready(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def write_result(folder: Path, result: Result) -> None:
    """Write ``result.json`` atomically."""
    text = json.dumps(json_ready(result.model_dump(mode="json")), indent=2, allow_nan=False)
    with atomic_file(folder / RESULT_FILE) as file:
        file.write(text.encode() + b"\n")


def read_result(path: Path) -> Result:
    """Read ``result.json``, also of an older version of the schema.

    Raises
    ------
    InputError
        It cannot be read, is not JSON, not of the schema (the message says where), or of a newer version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no result: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no result: it holds a {type(content).__name__}, not an object.")
    try:
        return Result.model_validate(migrated(content, str(path)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path} is no result: {where}: {first['msg']}.") from error


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``result.json``, every metric with its formula, unit and direction by its record."""
    from refbench.evaluation.metrics import metrics_schema  # reading results needs no evaluation

    schema = Result.model_json_schema()
    schema["$defs"] |= {f"metrics_{kind}": of for kind, of in metrics_schema().items()}
    schema["$defs"]["scores"] = _scores_schema()
    scores = {"anyOf": [{"$ref": "#/$defs/scores"}, {"type": "null"}]}
    of_views = {"type": "object", "additionalProperties": {"$ref": "#/$defs/metrics_views"}}
    of_depths = {"type": "object", "additionalProperties": {"$ref": "#/$defs/metrics_depth"}}
    held = next(option for option in schema["properties"]["metrics"]["anyOf"] if option["type"] == "object")
    held["properties"] = {"input": scores, "refined": scores, "views": of_views}
    held["properties"] |= {"depth": of_depths, "depth_input": of_depths}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "refbench result"
    return schema


def _scores_schema() -> dict[str, Any]:
    """Return the schema of what is said of one DSM: strata of any name, and what stands beside them."""
    return {
        "type": "object",
        "properties": {
            "shape": {"$ref": "#/$defs/metrics_shape"},
            "intervals": {"type": "object"},
            "notes": {"type": "object"},
            "assessors": {"type": "object"},
        },
        "additionalProperties": {"$ref": "#/$defs/metrics_heights"},
    }
