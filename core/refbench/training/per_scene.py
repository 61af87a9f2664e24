"""Optimisation on one scene: steps with progress, curves, an early end, and a state file to resume from.

``optimise`` drives a whole optimisation; its pieces (``StateFile``, ``StepProgress``, ``keep_in_time``) serve loops
of another shape, such as stages or views in turns.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from refbench.contracts.errors import CancelledError, InputError, WeightsError
from refbench.files.atomic import atomic_file
from refbench.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.method import Context
    from refbench.training.step_log import Step, StepLog

FORMAT = 1
REPORT_S = 1.0
ANEW = "Checkpoint was written for different images, depths, configuration or seed; starting from scratch."


@dataclass
class Progress:
    """How far an optimisation is: the ``losses`` of its steps so far, ``notes`` of what was seen."""

    losses: list[float] = field(default_factory=list)
    settled: bool = False
    """Whether it has ended, by its steps or early."""
    notes: dict[str, Any] = field(default_factory=dict)


class Optimisation(Protocol):
    """An optimisation on one scene, as ``optimise`` drives it."""

    @property
    def total_steps(self) -> int:
        """How many steps it has in all."""

    def digest(self, seed: int) -> str:
        """Return the digest of all that its numbers depend on; see ``digest_of``. Asked for before the first step."""

    def steps(self, done: int) -> Iterator[Step]:
        """Take the steps after the first ``done``, one at a time."""

    def rates(self) -> Sequence[float]:
        """Return the learning rates of the last step."""

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on, of tensors and plain data."""

    def restore(self, state: dict[str, Any]) -> None:
        """Bring it to a state that ``state`` returned."""


def optimise(
    problem: Optimisation,
    context: Context,
    name: str,
    *,
    span: tuple[float, float] = (0.0, 1.0),
    patience: int = 0,
    checkpoint_s: float = 60.0,
    log: Callable[[int], StepLog] | None = None,
    watch: Callable[[Step, int], None] | None = None,
) -> Progress:
    """Take all steps of an optimisation and return how far it came.

    Parameters
    ----------
    problem
        As it is before its first step.
    context
        Seed, progress, cancelling. With ``context.checkpoints`` the state is kept in ``<name>.pt`` there, and a state
        that is there is resumed from.
    name
        What is optimised, for progress and as a file's name.
    span
        Where its part of the progress bar begins and how long it is, in [0, 1].
    patience
        It ends early where the mean loss of so many steps is no better than that of so many before; 0: never.
    checkpoint_s
        Seconds between two writings of the state.
    log
        Makes the curves' file, given how many steps were resumed.
    watch
        Sees every step and its number, from 1.

    Raises
    ------
    InputError
        The checkpoint is damaged or cannot be written.
    CancelledError
        The run was asked to stop; the state was kept.
    """
    progress = Progress()
    file = None
    if context.checkpoints is not None:
        file = StateFile.of(context, name, problem.digest(context.seed), checkpoint_s)
        _resume(problem, file, progress)

    def keep() -> None:
        if file is not None:
            file.write({"state": problem.state(), "progress": dataclasses.asdict(progress)})

    total, resumed = problem.total_steps, len(progress.losses)
    if not progress.settled and resumed < total:
        curves = None if log is None else log(resumed)
        told = StepProgress(context, name, total, resumed)
        try:
            for step in problem.steps(resumed):
                progress.losses.append(step.total)
                done = len(progress.losses)
                progress.settled = done == total or has_settled(progress.losses, patience)
                if curves is not None:
                    curves.add(done, step, problem.rates())
                if watch is not None:
                    watch(step, done)
                keep_in_time(context, file is not None and file.is_due(), keep)
                told.tell(step, done, span[0] + span[1] * done / total)
                if progress.settled:
                    break
        finally:
            if curves is not None:
                curves.close()
    keep()
    return progress


def _resume(problem: Optimisation, file: StateFile, progress: Progress) -> None:
    """Bring problem and progress to what the file holds; what was done is written to ``progress.notes``."""
    content = file.resumed(progress.notes)
    if content is None:
        return
    with file.restoring(content):
        problem.restore(content["state"])
        for key, value in content["progress"].items():
            setattr(progress, key, value)
    progress.notes["checkpoint"] = resumed_from(f"step {len(progress.losses)}")


def resumed_from(where: str) -> str:
    """Say where a run was resumed."""
    return f"Resumed from {where}."


def has_settled(losses: Sequence[float], patience: int) -> bool:
    """Return whether the mean of the last ``patience`` losses is no better than that of so many before; 0: never."""
    if patience == 0 or len(losses) < 2 * patience:
        return False
    return float(np.mean(losses[-patience:])) >= float(np.mean(losses[-2 * patience : -patience]))


def digest_of(facts: Mapping[str, Any], arrays: Iterable[torch.Tensor | NDArray[Any]]) -> str:
    """Return the SHA-256 of ``facts`` of JSON types and of arrays with their types and shapes, in their order.

    Arrays of any shape and unit.
    """
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for each in arrays:
        plain = each.detach().cpu().numpy() if isinstance(each, torch.Tensor) else each
        array = np.ascontiguousarray(plain)
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


class StepProgress:
    """Tells how far the steps of ``name`` are, once a second at most; ``done`` of ``total`` were taken before."""

    def __init__(self, context: Context, name: str, total: int, done: int) -> None:
        self.context, self.name, self.total = context, name, total
        self.begun_at, self.started, self.told = done, time.monotonic(), 0.0

    def tell(self, step: Step, done: int, fraction: float) -> None:
        """Report a step after which ``done`` are taken; ``fraction``, in [0, 1], of all work of the run."""
        now = time.monotonic()
        if now - self.told < REPORT_S and done < self.total:
            return
        self.told = now
        left = (self.total - done) * max(now - self.started, 1e-9) / (done - self.begun_at)
        terms = ", ".join(f"{key} {value:.2g}" for key, value in step.terms.items())
        line = f"{self.name}: step {done}/{self.total}, loss {step.total:.4g} ({terms}), {left:.0f} s left"
        self.context.report(fraction, line)


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


class StateFile:
    """A file that states are kept in: ``path``, and ``digest`` of all that the numbers depend on."""

    def __init__(self, path: Path, digest: str, every_s: float) -> None:
        self.path, self.digest, self.every_s = path, digest, every_s
        self._written = time.monotonic()

    @classmethod
    def of(cls, context: Context, name: str, digest: str, every_s: float) -> StateFile:
        """Return the file ``name`` in the run's folder for checkpoints.

        Raises
        ------
        InputError
            The folder cannot be made.
        """
        assert context.checkpoints is not None  # the caller looked
        try:
            context.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {context.checkpoints} cannot be made: {error.strerror}.") from error
        return cls(context.checkpoints / f"{name}.pt", digest, every_s)

    def is_due(self) -> bool:
        """Return whether the last writing is long enough ago."""
        return time.monotonic() - self._written >= self.every_s

    def write(self, content: dict[str, Any]) -> None:
        """Put a state and the random one of torch into the file, whole or not at all."""
        facts = {"format": FORMAT, "digest": self.digest, "random": torch.get_rng_state()}
        with atomic_file(self.path) as file:
            torch.save({**facts, **content}, file)
        self._written = time.monotonic()

    def resumed(self, notes: dict[str, Any]) -> dict[str, Any] | None:
        """Return what the file holds; None where there is none or it is of another problem, which ``notes`` then say.

        Raises
        ------
        InputError
            The file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            content = read_checkpoint(self.path)
        except WeightsError as error:
            raise self._damaged(str(error).rstrip(".")) from error
        if content.get("format") == FORMAT and content.get("digest") == self.digest:
            return content
        notes["checkpoint"] = ANEW
        return None

    @contextmanager
    def restoring(self, content: dict[str, Any]) -> Iterator[None]:
        """Bring torch's random state back after the body has restored its own; name the file where that fails."""
        try:
            yield
            torch.set_rng_state(content["random"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, how: str) -> InputError:
        return InputError(
            f"The checkpoint {self.path} is damaged ({how}); delete it, or name another folder for checkpoints."
        )
