"""The command line that runs a cell again."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from refbench.engine.job.request import CellRequest

if TYPE_CHECKING:
    from typing import Any

PLAIN = CellRequest("", None, "")  # type: ignore[arg-type]  # for its defaults only


def command_line(request: CellRequest) -> str:
    """Return ``refbench run ...`` as it would be typed into a shell."""
    words = ["refbench", "run"]
    if request.scene.path is not None:
        words.append(request.scene.path)
    words += ["--method", request.method]
    for name, value in request.scene.files.items():
        words += _file_options(name, value)
    options: dict[str, Any] = {
        "--config": request.config,
        "--weights": request.weights,
        "--seed": request.seed or None,
        "--device": None if request.device == PLAIN.device else request.device,
        "--threads": request.threads,
        "--memory-cap": request.memory_cap_bytes,
        "--timeout": None if request.deadline_s is None else f"{request.deadline_s:g}",
        "--coregister": None if request.coregister == PLAIN.coregister else request.coregister,
        "--resampling": None if request.resampling == PLAIN.resampling else request.resampling,
        "--nodata": None if request.nodata == PLAIN.nodata else f"{request.nodata:g}",
    }
    for option, value in options.items():
        if value is not None:
            words += [option, str(value)]
    for key, value in request.overrides.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    for name in request.assessors:
        words += ["--assessor", name]
    for key, value in request.assessor_options.items():
        words += ["--option", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join([*words, "--out", "again"])


def _file_options(name: str, value: Any) -> list[str]:  # noqa: ANN401  # any JSON value
    if name == "orthos":
        return [word for path in value for word in ("--ortho", path)]
    if name == "masks":
        return [word for key, path in value.items() for word in ("--mask", f"{key}={path}")]
    return [f"--{name.replace('_', '-')}", str(value)]
