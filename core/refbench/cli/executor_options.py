"""Where jobs run: options that the verbs share which run several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from refbench.cli.options import parse_bytes
from refbench.engine.sweeps.executor_choice import ExecutorChoice

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")
_OPTIONS = (
    click.option(
        "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="How many jobs run at once."
    ),
    click.option(
        "--executor",
        "kind",
        type=click.Choice(["local", "dask"]),
        help="Where jobs run: processes of this machine (default), or workers of Dask, which --workers starts.",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="A Dask cluster that runs already, such as tcp://10.0.0.1:8786."
    ),
    click.option("--worker-memory", callback=parse_bytes, help="Memory of a Dask worker; a job above it ends as oom."),
)


def executor_options(command: F) -> F:
    """Add the options; ``executor_choice`` takes what they give."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def executor_choice(workers: int, kind: str | None, scheduler: str | None, worker_memory: int | None) -> ExecutorChoice:
    """Return what the options say; an address alone means Dask."""
    return ExecutorChoice(kind or ("local" if scheduler is None else "dask"), workers, scheduler, worker_memory)
