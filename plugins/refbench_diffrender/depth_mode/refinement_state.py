"""The state of a refinement as plain data: all that its next steps depend on, and whether two are the same problem."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from refbench.training.per_scene import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement

NO_NUMBERS = (
    "official", "features", "initial_depths", "estimator", "views", "held_out_views", "outputs", "tensorboard",
    "checkpoint_s", "min_views", "agree_m",
)  # fmt: skip
"""Keys that are paths or names (what they lead to is looked at instead) or do not touch the steps of a view."""


def state_of(run: ViewRefinement) -> dict[str, Any]:
    """Return the state of a refinement that has begun, of tensors and plain data.

    ``variables`` are all tensors that the optimiser moves, in its order: vertices, transfer function, tonemapper.
    """
    return {
        "stage": run.stage,
        "steps": run.steps,
        "position": run.mesh.position,
        "triangles": run.mesh.triangles,
        "stage_1_depth": run.stage_1_depth,
        "variables": [each.detach() for each in _variables(run.optimizer)],
        "optimizer": run.optimizer.state_dict(),
    }


def restore(run: ViewRefinement, state: dict[str, Any]) -> torch.optim.Optimizer:
    """Bring a refinement of the same problem to a state and return the optimiser of its stage.

    Raises
    ------
    KeyError, TypeError, ValueError
        The state is not one that ``state_of`` returned for this problem.
    """
    position, triangles = (state[key].to(run.device) for key in ("position", "triangles"))
    run.take(replace(run.mesh, position=position, triangles=triangles))
    optimizer = run.optimise(state["stage"])
    variables = _variables(optimizer)
    with torch.no_grad():
        for variable, value in zip(variables, state["variables"], strict=True):
            variable.copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    depth = state["stage_1_depth"]
    run.stage_1_depth, run.steps = None if depth is None else depth.to(run.device), state["steps"]
    return optimizer


def _variables(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [variable for group in optimizer.param_groups for variable in group["params"]]


def digest(run: ViewRefinement, config: DiffrenderConfig, seed: int) -> str:
    """Return the SHA-256 of all that a view's numbers depend on: configuration without paths, images, depths, seed.

    Parameters
    ----------
    run
        As it is before its first step.
    """
    values = {key: value for key, value in dataclasses.asdict(config).items() if key not in NO_NUMBERS}
    facts = {
        "config": values, "own": run.own.name, "targets": [view.name for view in run.targets], "seed": seed,
        "planes": run.planes, "backend": run.renderer.name,
        "alignment": (run.initial.offset, run.initial.scale),
    }  # fmt: skip
    return digest_of(facts, _inputs(run))


def joined(digests: Sequence[str]) -> str:
    """Return the SHA-256 of several digests in their order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _inputs(run: ViewRefinement) -> Iterator[torch.Tensor]:
    for view in run.targets:
        yield from (view.image, view.model_view, view.projection)
        if view.depth is not None:
            yield view.depth
    yield from (run.initial.relative, run.initial.valid, run.source, run.mesh.position, run.mesh.triangles)
    if run.beyond is not None:
        yield run.beyond
    if run.points is not None:
        yield from (run.points.places, run.points.depths)
    if run.normals is not None:
        yield from (run.normals.directions, run.normals.certainty)
    yield from run.features or ()
