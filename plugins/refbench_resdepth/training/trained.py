"""What both trainings, from scenes and as published, have in common: precision, the best network, the input's score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.weights.checkpoint import read_checkpoint
from refbench_resdepth.training.task import FILES

if TYPE_CHECKING:
    from refbench.training.settings import TrainSettings
    from refbench_resdepth.training.samples import GridSamples
    from refbench_resdepth.training.task import ResDepthTask

PRECISIONS = {"float32": "32-true", "mixed": "bf16-mixed"}
"""Lightning's name of each precision."""
HELD_SHARE = 2
"""A training holds rasters in at most 1 / HELD_SHARE of its memory budget."""


def take_best(task: ResDepthTask, settings: TrainSettings) -> None:
    """Give the task's model the weights of the best checkpoint, where there is one; the model ends on the CPU."""
    task.model.cpu().eval()
    best = None if settings.folder is None else FILES.best_in(settings.folder)
    if best is not None and best.exists():
        task.model.load_state_dict(read_checkpoint(best)["model_state_dict"])


def input_error(samples: GridSamples) -> float | None:
    """Return what the validation score of the initial DSM itself is: MAE in metres over the same pixels."""
    total, count = 0.0, 0
    for index in range(len(samples)):
        sample = samples[index]
        if not samples.cutter.model.has_dsm:
            return None
        error = abs(sample["x"][0] - sample["y"][0]) * sample["std"]
        mask = sample["mask"][0]
        total, count = total + float(error[mask].sum()), count + int(mask.sum())
    return total / count if count else None
