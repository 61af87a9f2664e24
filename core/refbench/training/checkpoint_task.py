"""A task whose checkpoints are plain files of torch: model, optimiser, scheduler, and how far the training is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import WeightsError
from refbench.files.atomic import atomic_file
from refbench.training.task import TrainState, TrainTask

if TYPE_CHECKING:
    from pathlib import Path


class CheckpointTask(TrainTask):
    """Writes and reads checkpoints; a task derives from it unless its files must be those of another program."""

    def write(self, path: Path, state: TrainState) -> None:
        """Write a checkpoint file, atomically."""
        content = {name: part.state_dict() for name, part in self._parts().items()}
        with atomic_file(path) as file:
            torch.save({**content, "state": asdict(state)}, file)

    def read(self, path: Path) -> TrainState:
        """Restore everything from a checkpoint file and return how far it was.

        Raises
        ------
        WeightsError
            The file is damaged or of another model.
        """
        content = self._content(path)
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        return TrainState(**content["state"])

    def read_model(self, path: Path) -> None:
        """Restore the model alone."""
        self.model.load_state_dict(self._content(path)["model"])

    def _parts(self) -> dict[str, Any]:
        parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "adversary": self.adversary_optimizer,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _content(self, path: Path) -> dict[str, Any]:
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch says of damage whatever it meets
            raise WeightsError(
                f"{path} is no checkpoint of a training: {' '.join(str(error).split())[:200]}"
            ) from error
        if missing := {*self._parts(), "state"} - set(content):
            raise WeightsError(f"{path} is a checkpoint of another training: it lacks {', '.join(sorted(missing))}.")
        return content
