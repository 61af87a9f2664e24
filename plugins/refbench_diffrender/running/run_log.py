"""What is seen while a view is refined: a CSV curve always, TensorBoard where it is installed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from refbench.training.step_log import StepLog
from refbench_diffrender.config import LossConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.running.steps import StepReport

TERMS = tuple(
    field.name
    for field in dataclasses.fields(LossConfig)
    if field.type == "float" and not field.name.startswith("init_")
)


class RunLog(StepLog):
    """The curves of a view or of a block, with images of its depth map or heights for TensorBoard; see ``StepLog``."""

    def __init__(
        self,
        folder: Path | None,
        name: str,
        config: DiffrenderConfig,
        resumed_step: int,
        terms: Sequence[str] = TERMS,
    ) -> None:
        super().__init__(
            folder, name, terms, first=("stage",), tensorboard=config.tensorboard, resumed_step=resumed_step
        )

    def add_step(self, report: StepReport, rates: Sequence[float]) -> None:
        """Write the losses and learning rates of a step; steps are counted from 1 over both stages."""
        self.add(report.step + 1, report, rates, f"stage_{report.stage}", stage=report.stage)

    def add_depth(self, report: StepReport, run: ViewRefinement) -> None:
        """Render the depth map for TensorBoard: near is bright, over the range of the initial depth."""
        if self.board is None:
            return
        depth = run.depth(report.stage).cpu().numpy()
        nearest, relief = run.initial.offset, run.initial.scale
        # Near is bright: the distance from the nearest point, as a fraction of the relief.
        self._add_image("depth", np.where(depth > 0, 1 - (depth - nearest) / relief, 0), report)

    def add_heights(self, report: StepReport, heights: NDArray[np.floating]) -> None:
        """Show a height field [rows, cols] in TensorBoard: high is bright."""
        if self.board is not None:
            low, high = np.percentile(heights, (1, 99))
            self._add_image("heights", (heights - low) / max(high - low, 1e-6), report)

    def _add_image(self, name: str, grey: NDArray[np.floating], report: StepReport) -> None:
        image = np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)
        assert self.board is not None  # the callers looked
        self.board.add_image(f"stage_{report.stage}/{name}", image, report.step + 1, dataformats="HW")
