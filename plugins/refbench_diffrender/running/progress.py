"""What the loops of depth and DSM mode have in common: progress told now and then, states kept in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from refbench.contracts.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench import Context
    from refbench_diffrender.depth_mode.refinement import StepReport

REPORT_S = 1.0


class Pace:
    """Tells how far the steps of ``name`` are, once a second at most; ``done`` of ``total`` were taken before."""

    def __init__(self, context: Context, name: str, total: int, done: int) -> None:
        self.context, self.name, self.total = context, name, total
        self.begun_at, self.started, self.told = done, time.monotonic(), 0.0

    def tell(self, report: StepReport, done: int, share: float) -> None:
        """Report a step after which ``done`` are taken; ``share``, in [0, 1], of all work of the run."""
        now = time.monotonic()
        if now - self.told < REPORT_S:
            return
        self.told = now
        left = (self.total - done) * max(now - self.started, 1e-9) / (done - self.begun_at)
        terms = ", ".join(f"{key} {value:.2g}" for key, value in report.terms.items())
        line = f"{self.name}: step {done}/{self.total}, loss {report.total:.4g} ({terms}), {left:.0f} s left"
        self.context.report(share, line)


def keep_in_time(context: Context, due: bool, keep: Callable[[], None]) -> None:
    """Call ``keep`` where that is ``due``, and before the end of a run that was asked to stop.

    Raises
    ------
    CancelledError
        The run was asked to stop.
    """
    if due:
        keep()
    try:
        context.check_cancelled()
    except CancelledError:
        keep()
        raise
