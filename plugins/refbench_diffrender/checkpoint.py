"""The file that a refinement is kept in between runs, so that a later one goes on with the same numbers."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import torch

from refbench.contracts.errors import InputError, WeightsError
from refbench.scenes.atomic import atomic_file
from refbench.scenes.checkpoint import read_checkpoint
from refbench_diffrender.refinement_state import digest, restore, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.loop import Progress
    from refbench_diffrender.refinement import ViewRefinement

FORMAT = 1


class Checkpoint:
    """The file of one view: ``path``, and ``digest`` of all that the numbers depend on."""

    def __init__(self, path: Path, digest: str, every_s: float) -> None:
        self.path, self.digest, self.every_s = path, digest, every_s
        self._written = time.monotonic()

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
        try:
            context.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {context.checkpoints} cannot be made: {error.strerror}.") from error
        return cls(context.checkpoints / f"{name}.pt", digest(run, config, context.seed), config.checkpoint_s)

    def is_due(self) -> bool:
        """Return whether the last writing is long enough ago."""
        return time.monotonic() - self._written >= self.every_s

    def write(self, run: ViewRefinement, progress: Progress) -> None:
        """Put the state into the file, whole or not at all."""
        content = {
            "format": FORMAT,
            "digest": self.digest,
            "progress": dataclasses.asdict(progress),
            "state": state_of(run),
            "random": torch.get_rng_state(),
        }
        with atomic_file(self.path) as file:
            torch.save(content, file)
        self._written = time.monotonic()

    def restored(self, run: ViewRefinement, progress: Progress) -> torch.optim.Optimizer | None:
        """Bring run and progress to what the file holds and return the stage's optimiser; None starts anew.

        What was done is written to ``progress.notes``.

        Raises
        ------
        InputError
            The file is damaged.
        """
        if not self.path.exists():
            return None
        advice = "delete it, or name another folder for checkpoints"
        try:
            content = read_checkpoint(self.path)
        except WeightsError as error:
            raise InputError(f"The checkpoint {self.path} is damaged ({str(error).rstrip('.')}); {advice}.") from error
        if content.get("format") != FORMAT or content.get("digest") != self.digest:
            progress.notes["checkpoint"] = "It is of other pictures, depths, configuration or seed: started anew."
            return None
        try:
            optimizer = restore(run, content["state"])
            for key, value in content["progress"].items():
                setattr(progress, key, value)
            torch.set_rng_state(content["random"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InputError(f"The checkpoint {self.path} is damaged ({error}); {advice}.") from error
        progress.notes["checkpoint"] = f"Gone on from stage {progress.stage}, step {progress.done}."
        return optimizer
