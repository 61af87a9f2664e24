"""The file that a refinement is kept in between runs, so that a later one goes on with the same numbers."""

from __future__ import annotations

import dataclasses
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import InputError, WeightsError
from refbench.files.atomic import atomic_file
from refbench.weights.checkpoint import read_checkpoint
from refbench_diffrender.depth_mode.refinement_state import digest, restore, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.loop import Progress
    from refbench_diffrender.depth_mode.refinement import ViewRefinement

FORMAT = 1
ANEW = "It is of other pictures, depths, configuration or seed: started anew."


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

    def read(self) -> dict[str, Any] | None:
        """Return what the file holds; None where it is of another problem.

        Raises
        ------
        InputError
            The file is damaged.
        """
        try:
            content = read_checkpoint(self.path)
        except WeightsError as error:
            raise self._damaged(str(error).rstrip(".")) from error
        same = content.get("format") == FORMAT and content.get("digest") == self.digest
        return content if same else None

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


class Checkpoint:
    """The state of one view in a file."""

    def __init__(self, file: StateFile) -> None:
        self.file = file

    @classmethod
    def of(cls, run: ViewRefinement, config: DiffrenderConfig, context: Context, name: str) -> Checkpoint | None:
        """Return the checkpoint of a view as it is before its first step; None where none is kept.

        Raises
        ------
        InputError
            The folder cannot be made.
        """
        if context.checkpoints is None:
            return None
        return cls(StateFile.of(context, name, digest(run, config, context.seed), config.checkpoint_s))

    def is_due(self) -> bool:
        """Return whether the last writing is long enough ago."""
        return self.file.is_due()

    def write(self, run: ViewRefinement, progress: Progress) -> None:
        """Put the state into the file, whole or not at all."""
        self.file.write({"progress": dataclasses.asdict(progress), "state": state_of(run)})

    def restored(self, run: ViewRefinement, progress: Progress) -> torch.optim.Optimizer | None:
        """Bring run and progress to what the file holds and return the stage's optimiser; None starts anew.

        What was done is written to ``progress.notes``.

        Raises
        ------
        InputError
            The file is damaged.
        """
        if not self.file.path.exists():
            return None
        content = self.file.read()
        if content is None:
            progress.notes["checkpoint"] = ANEW
            return None
        with self.file.restoring(content):
            optimizer = restore(run, content["state"])
            take_progress(progress, content["progress"])
        progress.notes["checkpoint"] = gone_on(progress)
        return optimizer


def take_progress(progress: Progress, values: dict[str, Any]) -> None:
    """Bring a progress to what was kept of it."""
    for key, value in values.items():
        setattr(progress, key, value)


def gone_on(progress: Progress) -> str:
    """Say where a run went on."""
    return f"Gone on from stage {progress.stage}, step {progress.done}."
