"""Finding bad input before anything is written: configuration, weights, scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.device import check_device
from refbench.engine.inputs.scene import open_scene
from refbench.engine.inputs.weights import find_weights
from refbench.engine.job.back import input_file
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.engine.job.request import JobRequest
    from refbench.registry.records import MethodRecord


@dataclass(frozen=True, slots=True)
class CheckedInputs:
    """What a job would run with; ``weights`` None where the method has none."""

    record: MethodRecord
    config: ResolvedConfig
    weights: Path | None
    scene: Scene


def check_inputs(
    request: JobRequest,
    config: ResolvedConfig | None = None,
) -> CheckedInputs:
    """Open everything that a request names.

    Parameters
    ----------
    request
        What is asked.
    config
        Its configuration where it has been read.

    Raises
    ------
    InputError
        The first thing that is missing or wrong.
    """
    record = load_registry().methods.get(request.method)
    check_device(request.device)
    config = config or load_config(record, request.config, request.overrides)
    weights = find_weights(record, request.weights, config.values.get("weights"))
    scene = open_scene(request, config)
    if request.back:
        input_file(scene)
    return CheckedInputs(record, config, weights, scene)
