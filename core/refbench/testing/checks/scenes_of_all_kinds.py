"""Scenes that are unlike the standard one: not square, smaller than a tile, rotated, without any height; a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.need import Gives, Need
from refbench.testing import scenes
from refbench.testing.check import check
from refbench.testing.require import NotApplicableError, applies, require
from refbench.testing.subject import describe, is_fair

if TYPE_CHECKING:
    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene
    from refbench.testing.subject import Subject
    from refbench.testing.trial import Trial

ROTATION_DEGREES = 30.0
_REPORTS_AFTER_CANCEL = 3


def _on(subject: Subject, grid: Grid) -> Trial:
    """Run on another grid; a sentence of refbench that says why not is fair."""
    trial = subject.trial(subject.scene(grid))
    if is_fair(trial.error):
        raise NotApplicableError(f"it says: {trial.error}")
    require(trial.error is None, f"on {grid!r} it raised {describe(trial.error)}")
    require(not trial.wrong_shape, trial.wrong_shape)
    wanted = Gives.DSM in subject.record.gives and trial.scene.grid is not None
    if wanted and trial.prediction is not None and trial.prediction.dsm is not None:
        apart = "; ".join(grid.differences(trial.prediction.dsm.grid))
        require(not apart, f"on {grid!r} its DSM has another grid: {apart}")
    return trial


@check("not-square", after=("shape", "grid"))
def not_square(subject: Subject) -> None:
    """A raster that is wider than high comes out as it went in."""
    _on(subject, scenes.utm_grid(40, 88))


@check("small", after=("shape", "grid"))
def small(subject: Subject) -> None:
    """A raster of 5 x 7 pixels, smaller than any tile or window, is refined or refused in a sentence."""
    _on(subject, scenes.utm_grid(5, 7))


@check("rotated", after=("shape", "grid", "not-square"))
def rotated(subject: Subject) -> None:
    """A grid that is not north-up is kept."""
    _on(subject, scenes.utm_grid(64, 64, rotation=ROTATION_DEGREES))


@check("all-nodata", after=("shape",))
def all_nodata(subject: Subject) -> None:
    """An initial DSM without any height ends with NaN or a sentence, not with a crash."""
    applies(Need.DSM in subject.record.needs, "it needs no initial DSM")
    scene: Scene = scenes.without_heights(subject.scene())
    trial = subject.trial(scene)
    require(
        trial.error is None or is_fair(trial.error),
        f"it raised {describe(trial.error)}; raise a refbench.InputError or return NaN",
    )


@check("cancel", after=("shape",))
def cancel(subject: Subject) -> None:
    """Asked to stop, it stops: at most three further reports of progress come."""
    trial = subject.trial(subject.scene(), cancelled=True)
    late = trial.reports_after_cancel
    require(late <= _REPORTS_AFTER_CANCEL, f"asked to stop, it reported progress {late} times more")
    require(trial.error is None, f"asked to stop, it raised {describe(trial.error)}; call context.check_cancelled()")
