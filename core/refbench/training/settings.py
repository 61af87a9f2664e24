"""What a training may be told: budget, rhythm, device, logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Precision = Literal["float32", "bfloat16"]
"""Of a network that refines."""
TrainPrecision = Literal["float32", "mixed"]
"""Of a network that learns: ``mixed`` keeps parameters in float32 and computes in bfloat16 where that is safe."""
FABRIC_PRECISIONS: dict[TrainPrecision, str] = {"float32": "32-true", "mixed": "bf16-mixed"}


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long and where to train. Counts are optimiser steps; a count <= 0 means never.

    ``steps`` is the total, also after a resume.
    """

    steps: int
    folder: Path | None = None
    """Where checkpoints and logs go; None keeps nothing."""
    log_folder: Path | None = None
    """Where TensorBoard's curves go, if not into ``folder``."""
    validate_every: int = 100
    checkpoint_every: int = 50
    backup_every: int = 0
    log_every: int = 1
    resume: bool = False
    device: str = "cpu"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    """Fabric's name of a strategy; with several devices ``auto`` is distributed data parallel."""
    precision: TrainPrecision = "float32"
    workers: int = 0
    """Processes that make batches; 0 makes them in the training process. Results do not depend on it."""
    tensorboard: bool = True

    def __post_init__(self) -> None:
        """Refuse a training without steps or resources."""
        if self.steps < 1:
            raise InputError(f"A training needs at least 1 step, got {self.steps}.")
        if self.devices < 1 or self.nodes < 1 or self.workers < 0:
            raise InputError("devices and nodes must be at least 1, workers at least 0.")
        if self.precision not in FABRIC_PRECISIONS:
            raise InputError(f"precision must be float32 or mixed, got {self.precision!r}.")

    @property
    def resources(self) -> dict[str, Any]:
        """What Fabric is made with, for ``device`` ("cpu", "cuda", "cuda:1", "mps"), strategy and precision."""
        kind, _, index = self.device.partition(":")
        if kind not in ("cpu", "cuda", "mps", "auto") or (index and not index.isdigit()):
            raise InputError(f"device must be cpu, cuda, cuda:<n>, mps or auto, got {self.device!r}.")
        several = self.devices * self.nodes > 1
        strategy = "ddp_find_unused_parameters_true" if several and self.strategy == "auto" else self.strategy
        return {
            "accelerator": kind,
            "devices": [int(index)] if index and not several else self.devices,
            "num_nodes": self.nodes,
            "strategy": strategy,
            "precision": FABRIC_PRECISIONS[self.precision],
        }
