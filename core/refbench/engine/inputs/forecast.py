"""What a job would do and cost, from headers and weights alone: what ``refbench run --dry-run`` says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.contracts.errors import SkippedError, UnsupportedError
from refbench.contracts.estimate import Estimate
from refbench.contracts.method import ChoosesWeights, EstimatesCost, NamesMembers, NamesWeights
from refbench.contracts.need import Gives
from refbench.engine.inputs.check import check_inputs
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.method import asked_weights, load_method
from refbench.engine.inputs.prepare import prepare
from refbench.engine.job.steps import weights_warnings
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.engine.inputs.prepare import Preparation
    from refbench.engine.job.request import JobRequest
    from refbench.registry.records import MethodRecord

RATE = "seconds_per_megapixel"
"""Tag of a record: CPU seconds of the method for a megapixel of the DSM."""
START = Estimate(195 << 20, 1.2)
"""Interpreter and packages of every job."""
TORCH = Estimate(190 << 20, 1.2)
"""What torch adds."""
SCORING = Estimate(185, 0.8e-6)
"""Reading, scoring and writing, for a pixel of the DSM."""
READING = Estimate(12, 0.1e-6)
"""Reading and writing alone."""
PIXELS_AT_ONCE = 1 << 20
"""Larger rasters are read and scored by strips, which take no more memory than so many pixels at once."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would run: weights after any fallback, the scene as bridges leave it, cost; ``cost`` None: not known."""

    record: MethodRecord
    config: ResolvedConfig
    scene: Scene
    preparation: Preparation
    weights: Path | None
    cost: Estimate | None
    remarks: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Pixels of the DSM, else of all views."""
        if self.scene.grid is not None:
            return self.scene.grid.width * self.scene.grid.height
        return sum(math.prod(view.image.shape) for view in self.scene.views.values())


def forecast(request: JobRequest, config: ResolvedConfig | None = None) -> Forecast:
    """Return what a job would do; its method is loaded, but sees no pixel.

    Raises
    ------
    InputError
        As the readers do.
    SkippedError, UnsupportedError
        The job would end so: packages or weights are missing, or inputs that nothing stands in for.
    """
    found = check_inputs(request, config)
    record, config = found.record, found.config
    preparation = prepare(found.scene, record, request.gsd, request.no_bridges)
    scene = found.scene
    for bridge in preparation.bridges + preparation.optional:
        scene = bridge.outline(scene)
    asked = asked_weights(record, config, request.weights)
    method = load_method(record, config, asked, request.threads)
    said = method.choose_weights(scene) if isinstance(method, ChoosesWeights) else []
    used = method.weights_used if isinstance(method, NamesWeights) else asked
    warnings = weights_warnings(asked, used, scene)
    remarks = dict.fromkeys((*scene.warnings, *config.notes, *warnings, *said))
    return Forecast(record, config, scene, preparation, used, _cost(record, method, scene, preparation), tuple(remarks))


def _pixels(scene: Scene) -> int:
    return 0 if scene.grid is None else scene.grid.width * scene.grid.height


def _own_cost(record: MethodRecord, method: object, scene: Scene) -> Estimate | None:
    """Return what the refinement alone costs; None where the method states no speed."""
    if isinstance(method, NamesMembers):
        return _members_cost(method, scene)
    if isinstance(method, EstimatesCost):
        return method.estimate(scene)
    if RATE in record.tags and (pixels := _pixels(scene)):
        return Estimate(0, float(record.tags[RATE]) * pixels / 1e6)
    return None


def _members_cost(method: NamesMembers, scene: Scene) -> Estimate | None:
    """Return what the methods cost that another one runs, one after the other; those that cannot run cost nothing."""
    memory, seconds = 0, 0.0
    for name, options in method.members().items():
        record = load_registry().methods.get(name)
        config = load_config(record, None, options)
        try:
            preparation = prepare(scene, record)
            weights = asked_weights(record, config)
        except (UnsupportedError, SkippedError):
            continue
        outline = scene
        for bridge in preparation.bridges:
            outline = bridge.outline(outline)
        member = load_method(record, config, weights, None)
        if isinstance(member, ChoosesWeights):
            member.choose_weights(outline)
        cost = _own_cost(record, member, outline)
        if cost is None:
            return None
        memory, seconds = max(memory, preparation.bytes, cost.bytes), seconds + preparation.seconds + cost.seconds
    return Estimate(memory, seconds)


def _cost(record: MethodRecord, method: object, scene: Scene, preparation: Preparation) -> Estimate | None:
    """Return the cost of the whole job: start, bridges, method, scoring; None where the method states no speed."""
    own = _own_cost(record, method, scene)
    if own is None:
        return None
    pixels = _pixels(scene)
    scored = scene.reference is not None and Gives.DSM in record.gives
    per_pixel = SCORING if scored else READING
    torch = TORCH if "torch" in record.packages else Estimate(0, 0.0)
    # Bridges end before the method begins, so the larger of both counts for the memory.
    return Estimate(
        START.bytes + torch.bytes + max(preparation.bytes, own.bytes) + per_pixel.bytes * min(pixels, PIXELS_AT_ONCE),
        START.seconds + torch.seconds + preparation.seconds + own.seconds + per_pixel.seconds * pixels,
    )
