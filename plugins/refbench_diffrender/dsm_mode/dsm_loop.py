"""The steps of a block of DSM mode: progress, an early end, curves, and resuming where it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from refbench.training.per_scene import optimise
from refbench.training.step_log import log_folder
from refbench_diffrender.depth_mode.loop import LOGGED_IMAGES
from refbench_diffrender.running.run_log import RunLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refbench import Context
    from refbench.training.step_log import Step
    from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement
    from refbench_diffrender.running.steps import StepReport

TERMS = ("patch", "colour", "smooth", "prior")


def follow_block(run: DsmRefinement, context: Context, span: tuple[float, float], name: str) -> dict[str, Any]:
    """Take all steps of a block, tell how far it is, and return what was observed of it.

    ``span``: where the block's part of the progress bar begins and how long it is. Checkpoints and an early end are
    those of ``refbench.training.per_scene.optimise``.

    Raises
    ------
    InputError
        The checkpoint is damaged or cannot be written.
    CancelledError
        The run was asked to stop; its state was kept.
    """
    log: list[RunLog] = []

    def begun(resumed_step: int) -> RunLog:
        log.append(RunLog(log_folder(context), name, run.config, resumed_step, TERMS))
        return log[0]

    def show(step: Step, done: int) -> None:
        if done % max(1, run.at.steps // LOGGED_IMAGES) == 0:
            log[0].add_heights(cast("StepReport", step), run.heights())

    progress = optimise(
        _Block(run, context, name),
        context,
        name,
        span=span,
        patience=run.config.patience,
        checkpoint_s=run.config.checkpoint_s,
        log=begun,
        watch=show,
    )
    losses = progress.losses
    if losses:
        progress.notes["loss"] = {"steps": len(losses), "first": losses[0], "last": losses[-1]}
    return progress.notes


class _Block:
    """A block as the loop of the core drives it."""

    def __init__(self, run: DsmRefinement, context: Context, name: str) -> None:
        self.run, self.context, self.name = run, context, name

    @property
    def total_steps(self) -> int:
        return int(self.run.at.steps)

    def digest(self, seed: int) -> str:
        return self.run.digest(seed)

    def steps(self, done: int) -> Iterator[StepReport]:
        batches = list(self.run.batches(self.context.rng("batches", self.name)))
        return iter(self.run.run(batches[done:]))

    def rates(self) -> Sequence[float]:
        return [group["lr"] for group in self.run.optimizer.param_groups]

    def state(self) -> dict[str, Any]:
        return self.run.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.run.restore(state)
