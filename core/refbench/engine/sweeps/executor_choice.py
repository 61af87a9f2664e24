"""Which executor a user asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.engine.sweeps.executor import LocalProcesses

if TYPE_CHECKING:
    from refbench.engine.sweeps.executor import Executor


@dataclass(frozen=True, slots=True)
class ExecutorChoice:
    """What a user says of where jobs run: ``local`` or ``dask``; ``worker_memory`` in bytes, None for no limit."""

    kind: str = "local"
    workers: int = 1
    scheduler: str | None = None
    worker_memory: int | None = None

    def __post_init__(self) -> None:
        """Refuse what only Dask has.

        Raises
        ------
        InputError
            A scheduler or a worker's memory with another executor.
        """
        if self.kind != "dask":
            for name, value in (("--scheduler", self.scheduler), ("--worker-memory", self.worker_memory)):
                if value is not None:
                    raise InputError(f"{name} is for --executor dask; add that, or leave {name} out.")

    def make(self) -> Executor:
        """Return the executor, connected or started.

        Raises
        ------
        InputError
            The scheduler cannot be reached, or its workers cannot run refbench's jobs.
        MissingExtraError
            Dask is not installed.
        """
        if self.kind == "local":
            return LocalProcesses(self.workers)
        from refbench.engine.sweeps.dask_executor import DaskExecutor  # brings dask, for those who ask for it

        if self.scheduler is not None:
            return DaskExecutor.connected(self.scheduler, self.worker_memory)
        return DaskExecutor.started(self.workers, self.worker_memory)
