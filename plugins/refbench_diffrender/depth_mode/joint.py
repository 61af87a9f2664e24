"""All views refined in turns: each takes a few steps against the depth maps that the others have by then."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from refbench.files.names import as_file_name
from refbench.training.per_scene import StateFile, resumed_from
from refbench.training.step_log import log_folder
from refbench_diffrender.depth_mode.loop import ViewOptimiser
from refbench_diffrender.depth_mode.refinement_state import digest, joined, restore, state_of
from refbench_diffrender.running.run_log import RunLog
from refbench_diffrender.running.stages import Progress, take_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement

FILE = "joint"


def refined_jointly(
    runs: Sequence[ViewRefinement], config: DiffrenderConfig, context: Context, seed: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Refine views in turns of ``config.turn`` steps, and return what was seen of each by its name.

    A view sees the depth maps of others as they were after their last turn, at first the initial ones. With
    ``context.checkpoints`` the state of all is kept in one file there, and one that is there is resumed from.

    Parameters
    ----------
    runs
        One for each view, before its first step.
    config, context
        As for ``follow``.
    seed
        Seeds torch for the view of a name, before its first step.

    Raises
    ------
    InputError
        The checkpoint is damaged or cannot be written.
    CancelledError
        The run was asked to stop; the state was kept.
    """
    schedule = JointSchedule(runs, config)
    kept: JointCheckpoint | None = None
    optimizers: list[torch.optim.Optimizer | None] = [None] * len(runs)
    if context.checkpoints is not None:
        whole = joined([digest(run, config, context.seed) for run in runs])
        kept = JointCheckpoint(StateFile.of(context, FILE, whole, config.checkpoint_s), schedule)
        optimizers = kept.restored()
    with ExitStack() as stack:
        steps = []
        for run, progress, optimizer in zip(runs, schedule.progress, optimizers, strict=True):
            name = run.own.name
            log = stack.enter_context(RunLog(log_folder(context), as_file_name(name), config, progress.done))
            optimiser = ViewOptimiser(run, config, context, name, kept, log, progress, schedule.fraction)
            steps.append(_seeded(run, seed, optimiser.steps(optimizer)))
        schedule.go(steps)
    return {run.own.name: progress.notes for run, progress in zip(runs, schedule.progress, strict=True)}


def _seeded(run: ViewRefinement, seed: Callable[[str], None], steps: Iterator[None]) -> Iterator[None]:
    """Yield the steps of a view; seed torch where it has not begun before."""
    if not run.has_begun:
        seed(run.own.name)
    yield from steps


class JointSchedule:
    """Whose turn it is: ``view``, of whose turn ``taken`` steps were begun, and the ``maps`` of views by their names.

    ``progress`` is that of every view.
    """

    def __init__(self, runs: Sequence[ViewRefinement], config: DiffrenderConfig) -> None:
        self.runs, self.config = runs, config
        self.progress = [Progress() for _ in runs]
        self.view = self.taken = 0
        self.maps: dict[str, Tensor] = {}
        names = {run.own.name for run in runs}
        for run in runs:
            run.partners = frozenset(
                n for n, target in enumerate(run.targets) if target.name in names and target.name != run.own.name
            )

    def go(self, steps: Sequence[Iterator[None]]) -> None:
        """Take the steps of all views to their ends."""
        left = set(range(len(steps)))
        while left:
            while self.taken < self.config.turn and self.view in left:
                self.taken += 1  # a state that the step keeps holds it
                if next(steps[self.view], self) is self:
                    left.remove(self.view)
            run = self.runs[self.view]
            self.publish_map(run.own.name, current_depth(run))
            self.view, self.taken = (self.view + 1) % len(steps), 0

    def publish_map(self, name: str, depth: Tensor) -> None:
        """Show the depth map of a view to the others. ``depth`` is [rows, cols], metres."""
        self.maps[name] = depth
        for run in self.runs:
            for number in run.partners:
                if run.targets[number].name == name:
                    run.held[number] = depth

    def fraction(self) -> float:
        """Return the fraction of the steps of all views that was taken."""
        total = (self.config.init_steps + self.config.steps) * len(self.runs)
        return sum(one.done for one in self.progress) / max(1, total)


def current_depth(run: ViewRefinement) -> Tensor:
    """Return the depth map [rows, cols] of a view that has begun, metres; 0 where nothing tells it."""
    depth = run.depth(run.stage)
    return depth if run.beyond is None else torch.where(run.beyond, torch.zeros_like(depth), depth)


class JointCheckpoint:
    """The state of all views in one file: maps of one moment belong together."""

    def __init__(self, file: StateFile, schedule: JointSchedule) -> None:
        self.file, self.schedule = file, schedule

    def is_due(self) -> bool:
        """Return whether the last writing is long enough ago."""
        return self.file.is_due()

    def write(self, run: ViewRefinement, progress: Progress) -> None:
        """Keep the state of all views, whichever asks."""
        del run, progress
        at = self.schedule
        content = {
            "states": [state_of(one) if one.has_begun else None for one in at.runs],
            "progress": [dataclasses.asdict(one) for one in at.progress],
            "turn": (at.view, at.taken),
            "maps": at.maps,
        }
        self.file.write(content)

    def restored(self) -> list[torch.optim.Optimizer | None]:
        """Bring the views to what the file holds and return the optimisers of their stages, None before the first step.

        Raises
        ------
        InputError
            The file is damaged.
        """
        at = self.schedule
        optimizers: list[torch.optim.Optimizer | None] = [None] * len(at.runs)
        notes: dict[str, Any] = {}
        content = self.file.resumed(notes)
        if content is None:
            for one in at.progress:
                one.notes |= notes
            return optimizers
        with self.file.restoring(content):
            for number, (run, state) in enumerate(zip(at.runs, content["states"], strict=True)):
                optimizers[number] = None if state is None else restore(run, state)
            for one, values in zip(at.progress, content["progress"], strict=True):
                take_progress(one, values)
            at.view, at.taken = content["turn"]
            for name, depth in content["maps"].items():
                at.publish_map(name, depth.to(at.runs[0].device))
        for one in at.progress:
            one.notes["checkpoint"] = resumed_from(one.where)
        return optimizers
