"""Curves of an optimisation on a scene: a CSV always, TensorBoard where it is installed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Protocol

from refbench.training.log import TENSORBOARD, CurveFile, tensorboard_writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter
    from typing_extensions import Self

    from refbench.contracts.method import Context


class Step(Protocol):
    """What is seen of one step: the total loss and its terms by name."""

    @property
    def total(self) -> float:
        """The loss."""

    @property
    def terms(self) -> Mapping[str, float]:
        """Its terms."""


LOG = "log"
"""Folder of the curves of an optimisation on a scene."""


def log_folder(context: Context) -> Path | None:
    """Return where a run's curves grow: beside its checkpoints, so that they survive it, else in the scratch folder."""
    base = context.checkpoints or context.scratch
    return None if base is None else base / LOG


def kept_log(context: Context) -> dict[str, Path]:
    """Return the log folder in the scratch folder, as a file of the prediction; copied from beside the checkpoints."""
    source = log_folder(context)
    if context.scratch is None or source is None or not source.is_dir():
        return {}
    kept = context.scratch / LOG
    if source != kept:
        shutil.copytree(source, kept, dirs_exist_ok=True)
    return {LOG: kept}


class StepLog:
    """The curves of an optimisation: ``<name>.csv`` and TensorBoard's events in ``tensorboard/<name>``.

    Parameters
    ----------
    folder
        Where both go; None writes nothing.
    name
        Of what is optimised, as a file's name.
    columns
        Of the curves besides ``step``, ``total`` and ``lr``.
    first
        Columns right after ``step``.
    tensorboard
        Whether events are wanted.
    resumed_step
        What was logged later than this step is dropped; 0 starts anew.
    """

    def __init__(
        self,
        folder: Path | None,
        name: str,
        columns: Sequence[str],
        *,
        first: Sequence[str] = (),
        tensorboard: bool = True,
        resumed_step: int = 0,
    ) -> None:
        self._curve: CurveFile | None = None
        self.board: SummaryWriter | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._curve = CurveFile(folder / f"{name}.csv", resumed_step)
        self._curve.columns = ["step", *first, "total", "lr", *columns]
        if resumed_step == 0:
            shutil.rmtree(folder / TENSORBOARD / name, ignore_errors=True)
        self.board = tensorboard_writer(folder, tensorboard, resumed_step, name)

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close TensorBoard's file."""
        self.close()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()

    def add(self, number: int, step: Step, rates: Sequence[float], group: str = "", **more: Any) -> None:  # noqa: ANN401
        """Write total, terms and learning rates of step ``number``, counted from 1; ``more`` goes to the curve alone.

        Events are named ``<group>/<term>`` where there is a group.
        """
        if self._curve is not None:
            self._curve.add({"step": number, "total": step.total, "lr": rates[0], **step.terms, **more})
        if self.board is not None:
            at = f"{group}/" if group else ""
            for term, value in {"total": step.total, **step.terms}.items():
                self.board.add_scalar(f"{at}{term}", value, number)
            for place, rate in enumerate(rates):
                self.board.add_scalar(f"{at}lr_{place}" if place else f"{at}lr", rate, number)
