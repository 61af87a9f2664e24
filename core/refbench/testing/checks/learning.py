"""A method that learns: it trains, leaves itself as it was, and what it saves comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.errors import RefbenchError
from refbench.contracts.method import Context, TrainableMethod
from refbench.engine.inputs.method import load_method
from refbench.testing import scenes
from refbench.testing.check import check
from refbench.testing.require import NotApplicableError, applies, require
from refbench.testing.subject import describe, ended_well, require_same
from refbench.testing.trial import run_trial
from refbench.weights.weights_folder import is_weights_folder, read_weights

if TYPE_CHECKING:
    from refbench.contracts.method import TrainedWeights
    from refbench.testing.subject import Subject
    from refbench.testing.trial import Trial

STEPS = 2
_SIDE = 288


@check("fit", after=("loads",))
def fit(subject: Subject) -> None:
    """A method whose record says ``trainable`` has ``fit``, others have none."""
    has, says = isinstance(subject.load(), TrainableMethod), subject.record.trainable
    require(has == says, "its record says trainable, but there is no fit" if says else "fit without trainable")


@check("save-load", after=("fit", "shape"))
def save_load(subject: Subject) -> None:
    """What two steps of training give is saved, loaded, and refines the same twice."""
    applies(subject.record.trainable, "it does not learn")
    folder = subject.folder / "weights"
    _fitted(subject).save(folder)
    require(is_weights_folder(folder), "save wrote no weights folder: model.safetensors and model.yaml")
    said = read_weights(folder).meta.get("method")
    require(said == subject.name, f"model.yaml says that these are weights of {said}")
    first, second = (ended_well(subject.trial(subject.scene(), folder)) for _ in range(2))
    require_same(first, second, "weights that were saved and loaded twice")


@check("fit-leaves", after=("save-load",))
def fit_leaves(subject: Subject) -> None:
    """Training leaves the method itself as it was."""
    applies(subject.record.trainable, "it does not learn")
    learner = subject.load()
    before = _refined(subject, learner)
    _fitted(subject, learner)
    after = _refined(subject, learner)
    require_same(before, after, "before and after fit")


def _refined(subject: Subject, method: object) -> Trial:
    return run_trial(subject.record, lambda: method, subject.scene())


def _fitted(subject: Subject, learner: object = None) -> TrainedWeights:
    """Train for a few steps on two scenes; what refbench says of too small a scene is no fault."""
    # As refbench train without --weights does: from scratch.
    method = load_method(subject.record, subject.resolved, None, threads=1) if learner is None else learner
    assert isinstance(method, TrainableMethod)
    grid = scenes.utm_grid(_SIDE, _SIDE)
    taught = [subject.scene(grid, seed=number, name=f"scene-{number}") for number in range(2)]
    run = subject.folder / f"run-{len(list(subject.folder.iterdir()))}"
    try:
        return method.fit(taught, Context(scratch=subject.folder), steps=STEPS, folder=run)
    except RefbenchError as error:
        raise NotApplicableError(f"it does not learn from scenes of {_SIDE} px: {describe(error)}") from error
