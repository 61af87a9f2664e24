"""The method of a job: its weights found, its packages checked, its threads set, its class made."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError, SkippedError, WeightsError
from refbench.engine.inputs.weights import find_weights
from refbench.registry.requirements import check_packages

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.registry.records import MethodRecord


def asked_weights(record: MethodRecord, config: ResolvedConfig, wanted: str | Path | None = None) -> Path | None:
    """Return the weights of a name or path, by default the configured or the method's own; None where it needs none.

    Raises
    ------
    SkippedError
        A package or the weights are missing; the message names the command that brings them.
    """
    check_packages(record)
    weights = find_weights(record, wanted, config.values.get("weights"))
    if weights is None and record.needs_weights:
        ways = [f"refbench import-weights --method {record.name} SOURCE --out FOLDER"] * record.imports_weights()
        ways += [f"refbench train SCENES --method {record.name} --out FOLDER"] * record.trainable
        how = (
            f"bring some with: {', or '.join(ways)}, then --weights FOLDER" if ways else "give some as --weights FOLDER"
        )
        raise SkippedError(f"{record.name} has no weights here; {how}.")
    return weights


def load_method(record: MethodRecord, config: ResolvedConfig, weights: Path | None, threads: int | None) -> Any:  # noqa: ANN401  # the plugin's class
    """Return the method's instance with its weights.

    Raises
    ------
    InputError
        The weights cannot be read or do not fit.
    """
    set_threads(threads or _asked_threads(), record)
    try:
        return record.load()(config.instance, weights)
    except WeightsError as error:
        raise InputError(f"{error}") from error


def set_threads(threads: int | None, record: MethodRecord) -> None:
    """Set the number of threads of torch where the method uses it: as asked, else all cores of this process.

    BLAS reads the environment that the parent set.
    """
    if "torch" in (*record.packages, *sys.modules):
        import torch

        torch.set_num_threads(threads or _cores())
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _asked_threads() -> int | None:
    """Return what the user's environment says of threads."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) > 0 else None
