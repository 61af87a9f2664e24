"""Which batches a process sees: consecutive numbers, dealt out over ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.data import DataLoader

    from refbench.training.settings import TrainSettings
    from refbench.training.task import TrainTask


@dataclass(frozen=True, slots=True)
class BatchNumbers:
    """Numbers ``first + rank``, ``first + rank + ranks``, ... below ``stop``: a sampler for a ``DataLoader``."""

    first: int
    stop: int
    rank: int = 0
    ranks: int = 1

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers of this rank."""
        return iter(range(self.first + self.rank, self.stop, self.ranks))

    def __len__(self) -> int:
        """Return how many numbers this rank gets."""
        return len(range(self.first + self.rank, self.stop, self.ranks))


def batch_loader(task: TrainTask, settings: TrainSettings, done: int, rank: int, ranks: int) -> DataLoader[Any]:
    """Return the loader of all batches from step ``done`` to the last one, for one rank."""
    from torch.utils.data import DataLoader

    per_step = task.batches_per_step
    numbers = BatchNumbers(done * per_step, settings.steps * per_step, rank, ranks)
    return DataLoader(
        task.batches,
        batch_size=None,
        sampler=numbers,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=settings.device.startswith("cuda"),
    )
