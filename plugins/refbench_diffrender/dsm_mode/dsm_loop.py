"""The steps of a block of DSM mode: progress, an early end, curves, and going on where it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from refbench_diffrender.depth_mode.loop import PICTURES, has_settled
from refbench_diffrender.running.progress import Pace, keep_in_time
from refbench_diffrender.running.run_log import RunLog, log_folder
from refbench_diffrender.running.state_file import ANEW, StateFile

if TYPE_CHECKING:
    from refbench import Context
    from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement

TERMS = ("patch", "colour", "smooth", "prior")


@dataclass
class BlockProgress:
    """How far a block is: the total ``losses`` of its steps, whether it has ``settled``, ``notes`` of what was seen."""

    losses: list[float] = field(default_factory=list)
    settled: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


def follow_block(run: DsmRefinement, context: Context, span: tuple[float, float], name: str) -> dict[str, Any]:
    """Take all steps of a block, tell how far it is, and return what was seen of it.

    ``span``: where the block's share of the progress bar begins and how long it is. Curves, checkpoints and an early
    end are those of ``loop.follow``.

    Raises
    ------
    InputError
        The checkpoint is damaged or cannot be written.
    CancelledError
        The run was asked to stop; its state was kept.
    """
    file, progress = None, BlockProgress()
    if context.checkpoints is not None:
        file = StateFile.of(context, name, run.digest(context.seed), run.config.checkpoint_s)
        _restore(run, file, progress)
    left = list(run.batches(context.rng("batches", name)))[len(progress.losses) :]
    if not progress.settled and left:
        with RunLog(log_folder(context), name, run.config, len(progress.losses), TERMS) as log:
            _take(run, left, context, span, name, file, progress, log)
    if file is not None:
        _keep(run, file, progress)
    return progress.notes


def _take(
    run: DsmRefinement,
    left: list[Any],
    context: Context,
    span: tuple[float, float],
    name: str,
    file: StateFile | None,
    progress: BlockProgress,
    log: RunLog,
) -> None:
    total = run.at.steps
    pace = Pace(context, name, total, len(progress.losses))

    def keep() -> None:
        if file is not None:
            _keep(run, file, progress)

    for report in run.run(left):
        progress.losses.append(report.total)
        done = len(progress.losses)
        progress.settled = done == total or has_settled(progress.losses, run.config.patience)
        progress.notes["loss"] = {"steps": done, "first": progress.losses[0], "last": report.total}
        log.add(report, [group["lr"] for group in run.optimizer.param_groups])
        if done % max(1, total // PICTURES) == 0:
            log.add_heights(report, run.heights())
        keep_in_time(context, file is not None and file.is_due(), keep)
        pace.tell(report, done, span[0] + span[1] * done / total)
        if progress.settled:
            break


def _keep(run: DsmRefinement, file: StateFile, progress: BlockProgress) -> None:
    file.write({"state": run.state(), "progress": asdict(progress)})


def _restore(run: DsmRefinement, file: StateFile, progress: BlockProgress) -> None:
    """Bring run and progress to what the file holds; what was done is written to ``progress.notes``."""
    if not file.path.exists():
        return
    content = file.read()
    if content is None:
        progress.notes["checkpoint"] = ANEW
        return
    with file.restoring(content):
        run.restore(content["state"])
        for key, value in content["progress"].items():
            setattr(progress, key, value)
    progress.notes["checkpoint"] = f"Gone on from step {len(progress.losses)}."
