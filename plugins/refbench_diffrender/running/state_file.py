"""The file that the refinement of a view is kept in between runs, so that a later one goes on with the same numbers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from refbench.training.per_scene import StateFile, resumed_from
from refbench_diffrender.depth_mode.refinement_state import digest, restore, state_of
from refbench_diffrender.running.stages import take_progress

if TYPE_CHECKING:
    import torch

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.running.stages import Progress


class ViewCheckpoint:
    """Keeps the state of one view in a file."""

    def __init__(self, file: StateFile) -> None:
        self.file = file

    @classmethod
    def of(cls, run: ViewRefinement, config: DiffrenderConfig, context: Context, name: str) -> ViewCheckpoint | None:
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
        """Bring run and progress to what the file holds and return the stage's optimiser; None starts from scratch.

        What was done is written to ``progress.notes``.

        Raises
        ------
        InputError
            The file is damaged.
        """
        content = self.file.resumed(progress.notes)
        if content is None:
            return None
        with self.file.restoring(content):
            optimizer = restore(run, content["state"])
            take_progress(progress, content["progress"])
        progress.notes["checkpoint"] = resumed_from(progress.where)
        return optimizer
