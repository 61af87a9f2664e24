"""What is seen while a view is refined: a CSV curve always, TensorBoard where it is installed."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.training.log import CurveFile
from refbench_diffrender.config import LossConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import StepReport, ViewRefinement

LOG = "log"
TERMS = tuple(
    field.name
    for field in dataclasses.fields(LossConfig)
    if field.type == "float" and not field.name.startswith("init_")
)


def log_folder(context: Context) -> Path | None:
    """Return where a run's logs grow: beside its checkpoints, so that they survive it, else in the scratch folder."""
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


class RunLog:
    """The curves of one view: ``<name>.csv`` and the events in ``tensorboard/<name>``.

    Parameters
    ----------
    folder
        Where both go; None writes nothing.
    name
        Of the view, as a file's name.
    config
        Whether TensorBoard is wanted.
    resumed_step
        What was logged later than this step is dropped; 0 starts anew.
    terms
        Of the loss: the curve's columns.
    """

    def __init__(
        self,
        folder: Path | None,
        name: str,
        config: DiffrenderConfig,
        resumed_step: int,
        terms: Sequence[str] = TERMS,
    ) -> None:
        self._curve: CurveFile | None = None
        self._board: Any = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._curve = CurveFile(folder / f"{name}.csv", resumed_step)
        self._curve.columns = ["step", "stage", "total", "lr", *terms]
        if config.tensorboard and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            events = folder / "tensorboard" / name
            if resumed_step == 0:
                shutil.rmtree(events, ignore_errors=True)
            self._board = SummaryWriter(str(events), purge_step=resumed_step + 1 if resumed_step else None)

    def __enter__(self) -> RunLog:
        """Return the log."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def add(self, report: StepReport, rates: Sequence[float]) -> None:
        """Write the losses and learning rates of a step; steps are counted from 1 over both stages."""
        step = report.step + 1
        if self._curve is not None:
            row = {"step": step, "stage": report.stage, "total": report.total, "lr": rates[0], **report.terms}
            self._curve.add(row)
        if self._board is not None:
            at = f"stage_{report.stage}"
            for term, value in {"total": report.total, **report.terms}.items():
                self._board.add_scalar(f"{at}/{term}", value, step)
            for number, rate in enumerate(rates):
                self._board.add_scalar(f"{at}/lr_{number}" if number else f"{at}/lr", rate, step)

    def add_depth(self, report: StepReport, run: ViewRefinement) -> None:
        """Render the depth map for TensorBoard: near is bright, over the range of the initial depth."""
        if self._board is None:
            return
        depth = run.depth(report.stage).cpu().numpy()
        nearest, relief = run.initial.offset, run.initial.scale
        self._add_picture("depth", np.where(depth > 0, 1 - (depth - nearest) / relief, 0), report)

    def add_heights(self, report: StepReport, heights: NDArray[np.floating]) -> None:
        """Show a height field [rows, cols] in TensorBoard: high is bright."""
        if self._board is not None:
            low, high = np.percentile(heights, (1, 99))
            self._add_picture("heights", (heights - low) / max(high - low, 1e-6), report)

    def _add_picture(self, name: str, grey: NDArray[np.floating], report: StepReport) -> None:
        picture = np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)
        self._board.add_image(f"stage_{report.stage}/{name}", picture, report.step + 1, dataformats="HW")
