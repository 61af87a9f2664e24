"""The steps of a view: batches in an order of the seed, progress, an early end, curves, and going on where it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from refbench.files.names import as_file_name
from refbench.training.per_scene import StepProgress, has_settled, keep_in_time
from refbench.training.step_log import log_folder
from refbench_diffrender.running.run_log import RunLog
from refbench_diffrender.running.stages import Progress
from refbench_diffrender.running.state_file import ViewCheckpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.running.steps import Stage, StepReport

LOGGED_IMAGES = 8
"""How many images of the depth map a stage leaves in the log."""
STAGES: tuple[Stage, ...] = (1, 2)


def follow(
    run: ViewRefinement,
    config: DiffrenderConfig,
    context: Context,
    span: tuple[float, float],
    name: str,
    watch: Callable[[StepReport], None] | None = None,
) -> dict[str, Any]:
    """Run both stages of a view, tell how far it is, and return what was observed of it.

    ``span``: where the view's part of the progress bar begins and how long it is. ``watch`` sees every step. A stage
    ends early where the mean loss of ``patience`` steps is no better than that of so many before. Curves go to the
    folder ``log`` in the scratch folder. With ``context.checkpoints`` the state is kept there, and a state that is
    there is resumed from.

    Raises
    ------
    InputError
        The checkpoint is damaged or cannot be written.
    CancelledError
        The run was asked to stop; its state was kept.
    """
    checkpoint = ViewCheckpoint.of(run, config, context, as_file_name(name))
    progress, optimizer = Progress(), None
    if checkpoint is not None:
        optimizer = checkpoint.restored(run, progress)

    def overall() -> float:
        return span[0] + span[1] * progress.done / max(1, config.init_steps + config.steps)

    with RunLog(log_folder(context), as_file_name(name), config, progress.done) as log:
        for _ in ViewOptimiser(run, config, context, name, checkpoint, log, progress, overall, watch).steps(optimizer):
            pass
    return progress.notes


class Checkpointer(Protocol):
    """What keeps the state of a view; see ``running.state_file.ViewCheckpoint``."""

    def is_due(self) -> bool:
        """Return whether the last writing is long enough ago."""

    def write(self, run: ViewRefinement, progress: Progress) -> None:
        """Keep the state."""


class ViewOptimiser:
    """The steps of one view, one after the other: logged, kept, shown. ``overall``: the fraction of all work done."""

    def __init__(
        self,
        run: ViewRefinement,
        config: DiffrenderConfig,
        context: Context,
        name: str,
        checkpoint: Checkpointer | None,
        log: RunLog,
        progress: Progress,
        overall: Callable[[], float],
        watch: Callable[[StepReport], None] | None = None,
    ) -> None:
        self.run, self.config, self.context = run, config, context
        self.checkpoint, self.log, self.progress = checkpoint, log, progress
        self.overall, self.watch = overall, watch
        self.told = StepProgress(context, name, config.init_steps + config.steps, progress.done)

    def steps(self, optimizer: torch.optim.Optimizer | None) -> Iterator[None]:
        """Take all steps that are left, one a turn; ``optimizer`` is that of the stage that was resumed from."""
        for stage, steps in zip(STAGES, (self.config.init_steps, self.config.steps), strict=True):
            if stage < self.progress.stage or (stage == 1 and steps == 0):
                continue
            if stage > self.progress.stage:
                self.progress.stage, self.progress.losses, self.progress.settled = stage, [], False
                optimizer = None
            yield from self._stage(stage, steps, optimizer)
        if self.config.steps == 0 and self.progress.stage == 2 and optimizer is None:
            self.run.begin(2)
        self._keep()

    def _stage(self, stage: Stage, steps: int, optimizer: torch.optim.Optimizer | None) -> Iterator[None]:
        progress = self.progress
        left = list(batches(self.run, steps, self.config.batch, self.context, stage))[len(progress.losses) :]
        if progress.settled or not left:
            return
        for report in self.run.run(stage, left, optimizer):
            progress.losses.append(report.total)
            progress.done += 1
            progress.settled = len(progress.losses) == steps or has_settled(progress.losses, self.config.patience)
            seen = progress.losses
            progress.notes[f"stage_{stage}"] = {"steps": len(seen), "first": seen[0], "last": seen[-1]}
            self._tell(report, steps)
            yield
            if progress.settled:
                break

    def _tell(self, report: StepReport, steps: int) -> None:
        """Log the step, keep the state where it is time, and show the progress."""
        taken = len(self.progress.losses)
        self.log.add_step(report, [group["lr"] for group in self.run.optimizer.param_groups])
        if self.watch is not None:
            self.watch(report)
        if taken % max(1, steps // LOGGED_IMAGES) == 0:
            self.log.add_depth(report, self.run)
        keep_in_time(self.context, self.checkpoint is not None and self.checkpoint.is_due(), self._keep)
        self.told.tell(report, self.progress.done, self.overall())

    def _keep(self) -> None:
        if self.checkpoint is not None:
            self.checkpoint.write(self.run, self.progress)


def batches(run: ViewRefinement, steps: int, size: int, context: Context, stage: int) -> Iterator[list[int]]:
    """Yield the numbers of the views of every step: all that are compared with in turn, in an order of the seed."""
    rng = context.rng("batches", run.own.name, stage)
    order = rng.permutation(steps * size)
    for step in range(steps):
        yield [run.others[item % len(run.others)] for item in order[step * size : (step + 1) * size]]
